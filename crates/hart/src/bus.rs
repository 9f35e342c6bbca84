//! How a hart sees its machine: RAM, everything else by load and store, the clock,
//! and the wires by which the machine calls for its attention.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::task::Waker;

use crate::address::GuestPhys;
use crate::ram::Ram;

/// The size of one memory access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Width {
    /// 1 byte.
    Byte = 0,
    /// 2 bytes.
    Half = 1,
    /// 4 bytes.
    Word = 2,
    /// 8 bytes.
    Double = 3,
}

impl Width {
    /// The size in bytes.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self as u32
    }
    /// A mask of the bits that an access of this size carries.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Nothing answers at that address, or not at that width: an access fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusFault;

/// A hart's number: its `mhartid`, and its place in the machine's tables.
pub type HartId = usize;

/// The machine around a hart.
///
/// All methods take `&self`: several harts, each on its own host thread, share one bus.
pub trait Bus: Sync {
    /// The guest's RAM, which harts reach directly.
    fn ram(&self) -> &Ram;
    /// Reads from a device or ROM; the value is zero-extended.
    fn load(&self, hart: HartId, addr: GuestPhys, width: Width) -> Result<u64, BusFault>;
    /// Writes to a device; only the low `width` bytes of `value` count.
    fn store(
        &self,
        hart: HartId,
        addr: GuestPhys,
        width: Width,
        value: u64,
    ) -> Result<(), BusFault>;
    /// Fetches 16 bits of code from outside RAM: a boot ROM. Devices hold no code.
    fn fetch(&self, addr: GuestPhys) -> Result<u16, BusFault> {
        let _ = addr;
        Err(BusFault)
    }
    /// The page of RAM, if any, that the machine wants to hear about: a hart that has stored to
    /// it leaves its run loop ([`request::YIELD`]) at the next jump. Set before harts run.
    fn watched_page(&self) -> Option<GuestPhys> {
        None
    }
    /// The machine's `mtime`, in ticks of its time base.
    fn time(&self) -> u64;
    /// The time by which the timers of hart `hart` are sampled: as of the last
    /// [`Bus::look_at_clock`], where to ask a clock takes long.
    fn recent_time(&self, hart: HartId) -> u64 {
        let _ = hart;
        self.time()
    }
    /// Where [`Bus::recent_time`] is kept, if to ask for it is no more than to read that.
    fn recent_time_place(&self, hart: HartId) -> Option<&AtomicU64> {
        let _ = hart;
        None
    }
    /// Run loops call this when they begin a slice.
    fn look_at_clock(&self, hart: HartId) {
        let _ = hart;
    }
    /// The wires into hart `hart`.
    fn lines(&self, hart: HartId) -> &Lines;
}

/// `mip` bits, by their position (Privileged 3.1.9).
pub mod irq {
    /// Supervisor software interrupt.
    pub const SSI: u64 = 1 << 1;
    /// Virtual supervisor software interrupt (H).
    pub const VSSI: u64 = 1 << 2;
    /// Machine software interrupt.
    pub const MSI: u64 = 1 << 3;
    /// Supervisor timer interrupt.
    pub const STI: u64 = 1 << 5;
    /// Virtual supervisor timer interrupt (H).
    pub const VSTI: u64 = 1 << 6;
    /// Machine timer interrupt.
    pub const MTI: u64 = 1 << 7;
    /// Supervisor external interrupt.
    pub const SEI: u64 = 1 << 9;
    /// Virtual supervisor external interrupt (H).
    pub const VSEI: u64 = 1 << 10;
    /// Machine external interrupt.
    pub const MEI: u64 = 1 << 11;
    /// Supervisor guest external interrupt (H).
    pub const SGEI: u64 = 1 << 12;
    /// Local counter overflow interrupt (Sscofpmf).
    pub const LCOFI: u64 = 1 << 13;
}

/// Work that another thread asks of a hart, done before its next instruction.
pub mod request {
    /// Forget predecoded code: a remote `fence.i`.
    pub const FENCE_I: u32 = 1 << 0;
    /// Forget translations: a remote `sfence.vma`.
    pub const FENCE_VMA: u32 = 1 << 1;
    /// Leave the run loop and report to whoever runs this hart.
    pub const YIELD: u32 = 1 << 2;
    /// An interrupt wire moved: sample the interrupts again.
    pub const INTERRUPT: u32 = 1 << 3;
}

/// The wires into one hart. Shared: devices and other harts drive them from any thread.
#[derive(Debug)]
pub struct Lines {
    /// `mip` bits driven from outside the hart (MSIP, MEIP, SEIP) and SSIP, which the hart's
    /// own CSR writes and other harts' SBI calls share.
    pending: AtomicU64,
    /// Bits of [`request`]; nonzero makes the hart look up from its work.
    requests: AtomicU32,
    /// The ACLINT's compare register for this hart; MTIP is `time >= mtimecmp`.
    mtimecmp: AtomicU64,
    /// Ends the sleep of whoever runs this hart and has nothing to do.
    waker: Option<Waker>,
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// All wires low, and no timer set.
    pub const fn new() -> Self {
        Self {
            pending: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            mtimecmp: AtomicU64::new(u64::MAX),
            waker: None,
        }
    }
    /// As [`Lines::new`]; every [`Lines::request`] also calls `waker`, so that a thread may
    /// sleep while its hart waits for an interrupt.
    pub fn with_waker(waker: Waker) -> Self {
        Self {
            waker: Some(waker),
            ..Self::new()
        }
    }
    /// The `mip` bits now driven.
    #[inline]
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }
    /// Where [`Lines::pending`] is kept, for generated code, which reads it.
    pub fn pending_place(&self) -> &AtomicU64 {
        &self.pending
    }
    /// Drives `bits` high; the hart will sample them.
    pub fn raise(&self, bits: u64) {
        if self.pending.fetch_or(bits, Ordering::AcqRel) & bits != bits {
            self.request(request::INTERRUPT);
        }
    }
    /// Drives `bits` low.
    pub fn lower(&self, bits: u64) {
        self.pending.fetch_and(!bits, Ordering::AcqRel);
    }
    /// Drives `bits` to `level`.
    pub fn set(&self, bits: u64, level: bool) {
        if level {
            self.raise(bits)
        } else {
            self.lower(bits)
        }
    }
    /// The time at which MTIP rises.
    #[inline]
    pub fn mtimecmp(&self) -> u64 {
        self.mtimecmp.load(Ordering::Acquire)
    }
    /// Where [`Lines::mtimecmp`] is kept, for generated code, which reads it.
    pub fn mtimecmp_place(&self) -> &AtomicU64 {
        &self.mtimecmp
    }
    /// Sets the time at which MTIP rises.
    pub fn set_mtimecmp(&self, ticks: u64) {
        self.mtimecmp.store(ticks, Ordering::Release);
        self.request(request::INTERRUPT);
    }
    /// Asks for work of the hart (bits of [`request`]).
    pub fn request(&self, bits: u32) {
        self.requests.fetch_or(bits, Ordering::SeqCst);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
    /// Whether anything is asked; the run loops look at this often.
    #[inline(always)]
    pub fn has_requests(&self) -> bool {
        self.requests.load(Ordering::Relaxed) != 0
    }
    /// What is asked, not yet taken.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Acquire)
    }
    /// Takes what is asked.
    pub fn take_requests(&self) -> u32 {
        self.requests.swap(0, Ordering::AcqRel)
    }
}
