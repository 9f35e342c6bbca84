//! Tests that drive each device as a guest's driver does.

mod balloon;
mod blk;
mod button;
mod console;
mod hostile;
mod net;
mod ports;
mod queue;
mod share;
mod threads;
mod transport;

use super::feature::{EVENT_IDX, INDIRECT_DESC, VERSION_1};

/// The ring features.
const RING: u64 = VERSION_1 | INDIRECT_DESC | EVENT_IDX;
