//! What writers make of messages and stores write: plain data.

pub mod contribution;
pub mod feature;
pub mod load;
pub mod table;
pub mod vector;
