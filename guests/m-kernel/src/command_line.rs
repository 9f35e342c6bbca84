//! The one thing that can be asked of this kernel: `getpid=COUNT` in its command line has the first
//! process make that many system calls instead of the tests. For `cargo xtask bench --metal`.

use core::sync::atomic::{AtomicUsize, Ordering};

/// What was asked for; 0 means the tests.
static GETPID_CALLS: AtomicUsize = AtomicUsize::new(0);

/// The words of a device tree (big-endian; Devicetree Specification, chapter 5).
struct Words(*const u32);

impl Words {
    fn at(&self, offset: usize) -> usize {
        // SAFETY: the caller of `read` vouches for a device tree, and offsets come from it.
        u32::from_be(unsafe { self.0.byte_add(offset).read() }) as usize
    }
    /// Whether the bytes from `offset` on are `text`.
    fn holds(&self, offset: usize, text: &[u8]) -> bool {
        let start = self.0.cast::<u8>().wrapping_add(offset);
        // SAFETY: as above; the comparison ends at the first byte that differs.
        (text.iter().enumerate()).all(|(i, byte)| unsafe { start.add(i).read() } == *byte)
    }
    /// The number in decimal digits at `offset`.
    fn number(&self, mut offset: usize) -> usize {
        let mut number = 0;
        loop {
            // SAFETY: as above; a property's text ends with a byte that is no digit.
            let byte = unsafe { self.0.cast::<u8>().add(offset).read() };
            if !byte.is_ascii_digit() {
                return number;
            }
            number = number * 10 + usize::from(byte - b'0');
            offset += 1;
        }
    }
}

/// Reads the command line out of the device tree at `tree`, where the firmware or the machine has
/// put it. Before paging, and before anything is allocated, which may overwrite the tree.
pub fn read(tree: usize) {
    const MAGIC: usize = 0xd00d_feed;
    const BEGIN: usize = 1;
    const END_OF_NODE: usize = 2;
    const PROPERTY: usize = 3;
    const NOTHING: usize = 4;
    let words = Words(tree as *const u32);
    if tree == 0 || tree % 4 != 0 || words.at(0) != MAGIC {
        return;
    }
    let (mut at, names) = (words.at(8), words.at(12));
    loop {
        match words.at(at) {
            BEGIN => {
                at += 4;
                // The node's name with its final zero, in whole words.
                while words.at(at) & 0xff != 0 {
                    at += 4;
                }
                at += 4;
            }
            END_OF_NODE | NOTHING => at += 4,
            PROPERTY => {
                let (length, name, value) = (words.at(at + 4), words.at(at + 8), at + 12);
                let asked = b"getpid=";
                if words.holds(names + name, b"bootargs\0") && words.holds(value, asked) {
                    GETPID_CALLS.store(words.number(value + asked.len()), Ordering::Relaxed);
                    return;
                }
                at = value + length.next_multiple_of(4);
            }
            _ => return,
        }
    }
}

/// How many system calls the first process is to make; `None` if it is to run the tests.
pub fn getpid_calls() -> Option<usize> {
    Some(GETPID_CALLS.load(Ordering::Relaxed)).filter(|calls| *calls > 0)
}
