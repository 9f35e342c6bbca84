//! Room for what guests write to RAM disks: memory that is left when all guests have theirs.

use alloc::vec::Vec;

use ringer_machine::backend::overlay_disk::BLOCK;

/// How many bytes each disk of `sizes` gets of `free`: enough to write all of it, or if there is
/// less than that, its part. Nobody can take what another was given.
pub fn share_out(sizes: &[u64], free: u64) -> Vec<u64> {
    const BLOCK_BYTES: u64 = BLOCK as u64;
    let whole = |size: &u64| size.next_multiple_of(BLOCK_BYTES);
    let wanted: u64 = sizes.iter().map(whole).sum();
    let part = |size: &u64| {
        if wanted <= free {
            return whole(size);
        }
        let part = u128::from(whole(size)) * u128::from(free) / u128::from(wanted);
        part as u64 / BLOCK_BYTES * BLOCK_BYTES
    };
    sizes.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn enough_for_all_or_a_part_for_each() {
        assert_eq!(share_out(&[512, 8192], 1 << 20), [4096, 8192]);
        assert_eq!(share_out(&[40_960, 81_920], 61_440), [20_480, 40_960]);
        assert_eq!(share_out(&[512, 512], 4096), [0, 0]);
        assert_eq!(share_out(&[], 4096), []);
    }

    proptest! {
        #[test]
        fn never_more_than_there_is(
            sizes in prop::collection::vec(1..1u64 << 40, 0..20),
            free in 0..1u64 << 42,
        ) {
            let shares = share_out(&sizes, free);
            prop_assert!(shares.iter().sum::<u64>() <= free);
            for (share, size) in shares.iter().zip(&sizes) {
                prop_assert_eq!(share % BLOCK as u64, 0);
                prop_assert!(*share < size + BLOCK as u64);
            }
        }
    }
}
