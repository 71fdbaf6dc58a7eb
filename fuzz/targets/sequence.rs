//! Frames of two clients, as their server receives them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| enq_fuzz::sequence::sequence(bytes));
