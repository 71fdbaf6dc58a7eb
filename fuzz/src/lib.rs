//! What the fuzz targets do with the bytes they are given.

#![forbid(unsafe_code)]

pub mod wire;
