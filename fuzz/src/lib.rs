//! What the fuzz targets do with the bytes they are given.

#![forbid(unsafe_code)]

#[path = "../../tests/sim/compare.rs"]
mod compare;
#[path = "../../tests/sim/model/mod.rs"]
mod model;
#[path = "../../tests/sim/translate.rs"]
mod translate;
#[path = "../../tests/sim/twin.rs"]
mod twin;
#[path = "../../tests/sim/words.rs"]
mod words;

pub mod sequence;
pub mod steps;
pub mod wire;
