//! Fuzzes `ringer_fuzz::devices`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::devices::run(data));
