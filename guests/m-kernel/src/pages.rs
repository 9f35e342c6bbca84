//! The allocator of physical pages: a list of free ones, linked through the pages themselves.

use crate::PAGE;
use crate::lock::Lock;
use core::ptr::{addr_of, addr_of_mut};

/// The end of the RAM that the kernel uses: it takes 128 MiB for granted.
pub const RAM_END: usize = 0x8800_0000;

static LOCK: Lock = Lock::new();
static mut FREE: usize = 0;
static mut COUNT: usize = 0;

unsafe extern "C" {
    static _image_end: u8;
}

/// Puts all pages behind the kernel on the list.
pub fn start() {
    let mut page = addr_of!(_image_end) as usize;
    while page < RAM_END {
        free(page);
        page += PAGE;
    }
}

/// Gives a page back, filled with junk, so that its late use shows.
pub fn free(page: usize) {
    assert!(
        page.is_multiple_of(PAGE) && (addr_of!(_image_end) as usize..RAM_END).contains(&page),
        "free of {page:#x}"
    );
    // SAFETY: the page is the caller's no longer; the list is used under the lock.
    unsafe {
        core::ptr::write_bytes(page as *mut u8, 1, PAGE);
        LOCK.acquire();
        (page as *mut usize).write(addr_of!(FREE).read());
        addr_of_mut!(FREE).write(page);
        addr_of_mut!(COUNT).write(addr_of!(COUNT).read() + 1);
    }
    LOCK.release();
}

/// Takes a zeroed page.
pub fn allocate() -> Option<usize> {
    LOCK.acquire();
    // SAFETY: under the lock; a page on the list is nobody's.
    let page = unsafe {
        let page = addr_of!(FREE).read();
        if page != 0 {
            addr_of_mut!(FREE).write((page as *const usize).read());
            addr_of_mut!(COUNT).write(addr_of!(COUNT).read() - 1);
        }
        page
    };
    LOCK.release();
    if page == 0 {
        return None;
    }
    // SAFETY: ours now.
    unsafe { core::ptr::write_bytes(page as *mut u8, 0, PAGE) };
    Some(page)
}

/// The number of free pages.
pub fn count() -> usize {
    LOCK.acquire();
    // SAFETY: under the lock.
    let count = unsafe { addr_of!(COUNT).read() };
    LOCK.release();
    count
}
