//! Removes an optional slice from the sources of a service: its own files, and its lines in others.

mod definition;
mod error;
mod pattern;
mod tree;

pub use definition::{Definition, FOLDER, Mention, Part, definitions};
pub use error::{Error, Result};
pub use tree::Tree;
