//! What is kept about people.

mod exports;
mod inventory;
mod retention;
