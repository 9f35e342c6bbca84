//! Random bytes for guests. What one guest is given says nothing about what others are.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use ringer_machine::backend::{BackendResult, EntropyBackend};

/// Bytes of a seed.
pub const SEED: usize = 32;

/// Where all random bytes come from.
#[derive(Clone)]
pub struct Randomness {
    seed: [u8; SEED],
}

impl Randomness {
    /// Starts from what the machine offers, however little that is.
    pub fn new(sources: &[&[u8]]) -> Self {
        let mut seed = [0; SEED];
        for source in sources {
            for part in source.chunks(SEED) {
                for (to, from) in seed.iter_mut().zip(part) {
                    *to ^= from;
                }
                // Spreads every bit, so that no source takes back what another brought.
                ChaCha20Rng::from_seed(seed).fill_bytes(&mut seed);
            }
        }
        Self { seed }
    }
    /// The stream with this number: nothing about it follows from other streams.
    pub fn stream(&self, number: u64) -> RandomStream {
        let mut stream = ChaCha20Rng::from_seed(self.seed);
        stream.set_stream(number);
        RandomStream(stream)
    }
}

/// Random bytes without end.
pub struct RandomStream(ChaCha20Rng);

impl EntropyBackend for RandomStream {
    fn fill(&mut self, into: &mut [u8]) -> BackendResult {
        self.0.fill_bytes(into);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(randomness: &Randomness, number: u64) -> [u8; 16] {
        let mut into = [0; 16];
        randomness.stream(number).fill(&mut into).unwrap();
        into
    }

    #[test]
    fn streams_and_seeds_differ() {
        let some = Randomness::new(&[&[1; 32], &[2; 8]]);
        assert_eq!(first(&some, 0), first(&some, 0));
        assert_ne!(first(&some, 0), first(&some, 1));
        for other in [
            Randomness::new(&[]),
            Randomness::new(&[&[1; 32]]),
            Randomness::new(&[&[2; 8], &[1; 32]]),
            Randomness::new(&[&[1; 31], &[2; 8]]),
        ] {
            assert_ne!(first(&some, 0), first(&other, 0));
        }
    }

    #[test]
    fn the_same_source_twice_is_not_none() {
        let twice = Randomness::new(&[&[7; 32], &[7; 32]]);
        assert_ne!(first(&twice, 0), first(&Randomness::new(&[]), 0));
    }
}
