//! What is kept about people.

mod inventory;
