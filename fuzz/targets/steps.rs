//! Inputs of a shard, engine beside model.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| enq_fuzz::steps::steps(bytes));
