//! A network without rights or set-up: the guest sees a router with a DHCP server and a name
//! server, and what it sends beyond goes out by ordinary sockets of this process. docs/NETWORK.md
//! explains it.
//!
//! A thread of its own drives it: frames between the card and the [`cable`], between the cable
//! and the [`stack`], and between that and the host's sockets.

pub mod addresses;
pub mod cable;
mod dhcp;
mod dns;
mod fragments;
mod publish;
mod sockets;
mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod wire;

use std::time::Instant;

use rustix::io::Errno;

pub use addresses::Policy;
pub use cable::CardEnd;
pub use dns::RESOLV_CONF;
pub use publish::{Carries, Publish, PublishError};
pub use stack::Stack;
pub use tcp::{Ends, SavedPair};

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
pub enum UserNetError {
    /// A port cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The host has no more files or memory.
    #[error("cannot set up the guest's network ({0}); --net none does without")]
    Host(#[from] Errno),
}

/// Sets up a network: what goes into the card, and the stack for [`run`]. Returns also the published
/// ports as they were opened.
pub fn open(
    policy: Policy,
    publish: &[Publish],
) -> Result<(CardEnd, Stack, Vec<Publish>), UserNetError> {
    sockets::allow_many();
    let watch = sockets::Watch::new()?;
    let (published, opened) = publish::Published::open(publish, &watch)?;
    let (card, cable) = cable::cable()?;
    let resolvers = dns::Resolvers::of_host(Instant::now());
    let stack = Stack::new(policy, cable, watch, published, resolvers)?;
    Ok((card, stack, opened))
}

/// Drives the network between the host and the card that `poll` polls, for ever.
pub fn run(mut stack: Stack, poll: impl Fn()) {
    loop {
        poll();
        if stack.work(Instant::now()) {
            continue;
        }
        stack.cable().about_to_sleep(true);
        // What the guest did before it could know that it has to wake us.
        poll();
        if !stack.has_work() {
            stack.wait();
        }
        stack.cable().about_to_sleep(false);
    }
}
