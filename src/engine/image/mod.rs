//! The state image: all that later steps can depend on, as bytes and back (`docs/image.md`).
//!
//! Two shards that have taken the same inputs have the same image, whatever their hash seeds; and what is made of an image
//! goes on as if nothing had happened, ids and generations included. What can be counted or derived from the rest is not
//! written, so that it cannot contradict it: lists are written, links are not.
//!
//! The flight recorder, what was looked at and what allocations take are no state.
//!
//! Bytes that are not an image are refused, whatever they are: nothing here panics on them. That they are those that were
//! written, checksums have seen to before.

mod collections;
mod links;
mod raw;
mod shard;
mod told;
mod words;

pub use raw::{Bad, Reader, Writer};
pub use shard::Local;

/// What can be written into an image and read back.
pub trait Image: Sized {
    /// Writes it.
    fn write(&self, to: &mut Writer);

    /// Reads it.
    ///
    /// # Errors
    /// The bytes are not one.
    fn read(from: &mut Reader<'_>) -> Result<Self, Bad>;
}

/// The image of a structure: these fields, in this order. Those behind the semicolon are not written, and become what
/// stands there. A field that is named in neither list does not compile.
///
/// Where it is used, `Bad`, `Image`, `Reader` and `Writer` are to be known.
macro_rules! fields {
    ($whole:ident { $($field:ident),+ $(; $($other:ident: $becomes:expr),+)? $(,)? }) => {
        impl Image for $whole {
            fn write(&self, to: &mut Writer) {
                let $whole { $($field,)+ $($($other: _,)+)? } = self;
                $($field.write(to);)+
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Bad> {
                Ok($whole {
                    $($field: Image::read(from)
                        .map_err(|bad| bad.within(stringify!($whole), stringify!($field)))?,)+
                    $($($other: $becomes,)+)?
                })
            }
        }
    };
}
pub(crate) use fields;

/// The image of an enum: the number of the variant, then its fields. A variant that is left out does not compile.
///
/// Where it is used, `Bad`, `Image`, `Reader` and `Writer` are to be known.
macro_rules! variants {
    ($whole:ident { $($number:literal => $variant:ident $({ $($field:ident),+ })? $(($only:ident))?),+ $(,)? }) => {
        impl Image for $whole {
            fn write(&self, to: &mut Writer) {
                match self {
                    $($whole::$variant $({ $($field),+ })? $(($only))? => {
                        to.byte($number);
                        $($($field.write(to);)+)?
                        $($only.write(to);)?
                    })+
                }
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Bad> {
                match from.byte()? {
                    $($number => Ok($whole::$variant
                        $({ $($field: Image::read(from)
                            .map_err(|bad| bad.within(stringify!($variant), stringify!($field)))?),+ })?
                        $((Image::read(from)
                            .map_err(|bad| bad.within(stringify!($variant), stringify!($only)))?))?
                    ),)+
                    _ => Err(from.wrong("a number that is none of the variants").within(stringify!($whole), "number")),
                }
            }
        }
    };
}
pub(crate) use variants;

#[cfg(test)]
mod tests;
