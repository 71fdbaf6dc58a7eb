//! Bytes of a server, as its client receives them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| enq_fuzz::wire::server(bytes));
