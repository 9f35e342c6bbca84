//! Random bytes for guests: the host's, or a fixed sequence for runs that must repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringer_machine::backend::{BackendError, BackendResult, EntropyBackend};
use rustix::rand::GetRandomFlags;

/// The host kernel's random bytes.
pub struct HostEntropy;

impl EntropyBackend for HostEntropy {
    fn fill(&mut self, into: &mut [u8]) -> BackendResult {
        let mut rest = into;
        while !rest.is_empty() {
            match rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(0) => return Err(BackendError),
                Ok(got) => rest = rest.get_mut(got..).ok_or(BackendError)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(BackendError),
            }
        }
        Ok(())
    }
}

/// The same sequence in every run: SplitMix64. No secret is safe with it, which is what
/// `--deterministic` asks for.
#[derive(Clone)]
pub struct FixedEntropy {
    /// Shared with the clones, which go on with the same sequence.
    state: Arc<AtomicU64>,
}

impl FixedEntropy {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(AtomicU64::new(seed)),
        }
    }
    /// The place in the sequence.
    pub fn place(&self) -> u64 {
        self.state.load(Relaxed)
    }
    /// Goes on from a place in the sequence.
    pub fn go_to(&self, place: u64) {
        self.state.store(place, Relaxed);
    }
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl EntropyBackend for FixedEntropy {
    fn fill(&mut self, into: &mut [u8]) -> BackendResult {
        for chunk in into.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *to = from;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_differ_and_the_fixed_repeat() {
        let mut a = [0; 33];
        let mut b = [0; 33];
        HostEntropy.fill(&mut a).unwrap();
        HostEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
        FixedEntropy::new(1).fill(&mut a).unwrap();
        FixedEntropy::new(1).fill(&mut b).unwrap();
        assert_eq!(a, b);
        FixedEntropy::new(2).fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
