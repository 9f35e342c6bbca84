//! The harts that a call means: a mask, and the hart of its first bit.

use ringer_hart::HartId;
use sbi_spec::binary::Error;

/// A mask base that stands for all harts, whatever the mask.
pub(super) const ALL: u64 = u64::MAX;

/// The harts in `mask` from `base` on, on a machine of `harts` harts. One that does not exist
/// makes the whole mask invalid.
pub(super) fn harts(
    mask: u64,
    base: u64,
    harts: usize,
) -> Result<impl Iterator<Item = HartId>, Error<u64>> {
    let (mask, base) = if base == ALL {
        (None, 0)
    } else {
        (Some(mask), usize::try_from(base).unwrap_or(usize::MAX))
    };
    let last = mask.map(|mask| 63_usize.checked_sub(mask.leading_zeros() as usize));
    if let Some(Some(last)) = last
        && base.checked_add(last).is_none_or(|id| id >= harts)
    {
        return Err(Error::InvalidParam);
    }
    let within = if mask.is_some() { 64 } else { harts };
    Ok((0..within)
        .filter(move |bit| mask.is_none_or(|mask| mask >> bit & 1 != 0))
        .map(move |bit| base + bit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn list(mask: u64, base: u64, count: usize) -> Option<Vec<HartId>> {
        harts(mask, base, count).ok().map(Iterator::collect)
    }

    #[test]
    fn masks_mean_harts() {
        assert_eq!(list(0b101, 1, 4), Some([1, 3].to_vec()));
        assert_eq!(list(0, ALL, 3), Some([0, 1, 2].to_vec()));
        assert_eq!(list(0, 7, 3), Some(Vec::new()));
        assert_eq!(list(0b1000, 0, 3), None);
        assert_eq!(list(1 << 63, ALL - 1, 3), None);
        assert_eq!(list(1, ALL - 1, 3), None);
        assert_eq!(list(1 << 63, 64, 512), Some([127].to_vec()));
        assert_eq!(list(0, ALL, 100).map(|l| l.len()), Some(100));
    }

    proptest! {
        #[test]
        fn any_mask_yields_only_harts_that_exist(
            mask in any::<u64>(),
            base in prop_oneof![0..600u64, any::<u64>()],
            count in 1..512usize,
        ) {
            if let Some(list) = list(mask, base, count) {
                prop_assert!(list.iter().all(|id| *id < count));
            }
        }
    }
}
