//! Fuzzes `ringer_fuzz::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::bundle::run(data));
