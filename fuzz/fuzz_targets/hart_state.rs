//! Fuzzes `ringer_fuzz::hart_state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::hart_state::run(data));
