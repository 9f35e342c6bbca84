//! The translator as an engine of the monitor: the one place that knows on which hosts there is
//! one. On all others the same names stand for types without values.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod here;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod listing;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod stats;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use self::{here::*, listing::listing, stats::TranslatorStats};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod elsewhere;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub use elsewhere::*;
