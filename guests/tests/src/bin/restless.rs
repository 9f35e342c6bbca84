//! A guest that never ends: it resets its machine as soon as that has started.
#![no_std]
#![no_main]

use bare::power;
use tests::{Checks, bare_test};

bare_test!("restless", run);

fn run(_: &mut Checks) {
    power::reset()
}
