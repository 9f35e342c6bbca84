//! Every half-precision value through every unary operation.

use ringer_hart::float::F16;

use crate::{conversion, root, rules};

#[test]
fn every_half() {
    for bits in 0..=u16::MAX {
        conversion::check_unary(F16(bits));
        root::check_sqrt(F16(bits));
        rules::check_class(F16(bits));
    }
}
