//! Tests of the shadow page tables against the definition, through a walk of their own: what
//! the hardware would do with the tables, and what it might remember of them.

mod behaviour;
mod concurrent;
mod hardware;
mod matrix;
mod random;
mod world;
