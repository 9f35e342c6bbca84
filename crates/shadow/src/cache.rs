//! The live root as the definition's cache of translations, for the single instructions that
//! `Hart::step_with` executes between two runs on the real hart.

use ringer_hart::translate::{Access, Translation};
use ringer_hart::{GuestVirt, memory::TranslationCache};

use crate::paging::{Rights, index, leaf_phys, size};
use crate::pool::HostPhys;
use crate::shadow::Shadow;
use crate::tables::{Content, Place};

/// What the real hart would find by the root entered last. Right for as long as the virtual
/// hart is in the state that it was entered for.
#[derive(Clone, Copy, Debug)]
pub struct LiveRoot<'a>(&'a Shadow);

impl Shadow {
    /// The root entered last, to be looked into.
    pub fn live_root(&self) -> LiveRoot<'_> {
        LiveRoot(self)
    }

    /// Where the real hart reaches `va` by the root entered last, if it may.
    pub fn find(&self, access: Access, va: GuestVirt) -> Option<HostPhys> {
        if !self.paging().is_canonical(va) {
            return None;
        }
        let mut table = self.live_table()?;
        let mut level = self.paging().levels() - 1;
        loop {
            let at = Place {
                table,
                index: index(va, level),
            };
            match self.tables().content(at) {
                Content::Nothing => return None,
                Content::Leaf(leaf) => {
                    let allowed = Rights::of(leaf).contains(Rights::needed_for(access));
                    let inside = va.0 & (size(level) - 1);
                    return allowed.then(|| HostPhys(leaf_phys(leaf).0 + inside));
                }
                Content::Table(next) => {
                    table = next;
                    level = level.checked_sub(1)?;
                }
            }
        }
    }
}

impl TranslationCache for LiveRoot<'_> {
    fn find(&self, access: Access, va: u64, bytes: u64) -> Option<u64> {
        if va & (bytes - 1) != 0 {
            return None;
        }
        let phys = self.0.find(access, GuestVirt(va))?;
        phys.0.checked_sub(self.0.ram().0)
    }
    fn fill(&mut self, _: Access, _: u64, _: u64, _: &Translation) {
        // The shadow is filled by faults of the real hart, when the guest runs there again.
    }
}
