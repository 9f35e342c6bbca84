//! Fuzzes `ringer_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::frames::run(data));
