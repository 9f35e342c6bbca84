//! Fuzzes `ringer_fuzz::images`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::images::run(data));
