//! Fuzzes `ringer_fuzz::board_state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringer_fuzz::board_state::run(data));
