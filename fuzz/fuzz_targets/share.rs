//! Fuzzes `ringer_fuzz::share`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::share::run(data));
