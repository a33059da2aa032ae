//! What is kept about people.

mod inventory;
mod retention;
