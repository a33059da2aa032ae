//! Small square pictures made from untrusted images: bounded decoding, no metadata.

mod picture;

pub use picture::{Format, Picture, PictureError};
