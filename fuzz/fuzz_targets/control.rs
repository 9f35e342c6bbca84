//! Fuzzes `ringer_fuzz::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::control::run(data));
