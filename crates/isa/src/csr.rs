//! CSR numbers and names, and the fields of those that have any.

mod fields;
mod numbers;

pub use fields::*;
pub use numbers::*;
