//! Bytes of a client, as its server receives them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| enq_fuzz::wire::client(bytes));
