//! Fuzzes `ringer_fuzz::virtqueues`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::virtqueues::run(data));
