//! What a trap handler of any mode works on: the frame that trap.s pushes.

const FETCH_ACCESS: usize = 1;
const FETCH_PAGE: usize = 12;

/// Saved registers, by number; x0's place is unused.
#[repr(C)]
pub struct Frame {
    /// x0 to x31.
    pub x: [usize; 32],
}

impl Frame {
    /// Where to go on after an exception that was wanted: past the instruction that trapped; after
    /// a jump into the wild, at its caller.
    pub fn resume(&self, cause: usize, epc: usize) -> usize {
        if matches!(cause, FETCH_ACCESS | FETCH_PAGE) {
            return self.x[1];
        }
        // SAFETY: the instruction was fetched from here, through an identity mapping.
        let start = unsafe { (epc as *const u16).read_volatile() };
        epc + if start & 3 == 3 { 4 } else { 2 }
    }
}
