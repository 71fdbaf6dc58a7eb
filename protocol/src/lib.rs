//! The words of enq and the bytes that carry them.
//!
//! [`vocabulary`] is spoken in every room of the project: modes, names, ids, flags, statuses, value blocks, views.
//! [`wire`] turns those words into frames and back and is used at the two doors only, the client's and the server's.
//! `PROTOCOL.md` beside this crate is the document a client in any language is written from.
//!
//! This crate never touches a socket, a clock or a file.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod vocabulary;
pub mod wire;
