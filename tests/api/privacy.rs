//! What is kept about people.

mod canaries;
mod crashes;
mod erasure;
mod holds;
mod inventory;
mod load;
mod retention;
