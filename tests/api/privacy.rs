//! What is kept about people.

mod canaries;
mod crashes;
mod erasure;
mod exports;
mod holds;
mod inventory;
mod load;
mod retention;
