//! A guest that tries everything: memory, page tables, CSRs, devices and DMA that are not its own,
//! instructions of all kinds, and storms. It passes if it is told so as the manual says, each time,
//! and lives.
#![no_std]
#![no_main]

use bare::virtio::{self, Descriptor, Device};
use bare::{csr, println, uart};
use core::ptr::{addr_of, addr_of_mut};
use tests::paging::{self, fence, leaf, pte};
use tests::trap::{self, Mode, Trap, attempt, cause};
use tests::wild::{CodePage, Context, be_patient};
use tests::{Checks, bare_test, smp, storm};

bare_test!("hostile", run);

const RAM: usize = 0x8000_0000;
const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

/// Devices of the board: where, how long.
const DEVICES: [(usize, usize); 6] = [
    (0x10_0000, 0x1000),
    (0x10_1000, 0x1000),
    (0x200_0000, 0x1_0000),
    (0xc00_0000, 0x60_0000),
    (0x1000_0000, 0x100),
    (0x1000_1000, 0x8000),
];
const POWER: usize = 0x10_0000;
const ROM: (usize, usize) = (0x1000, 0xf000);

fn run(t: &mut Checks) {
    paging::open_pmp();
    be_patient();
    let end = ram_end();
    println!("hostile: {} MiB", (end - RAM) / MIB);
    outside(t, end);
    println!("hostile: page tables");
    page_tables(t, end);
    println!("hostile: CSRs");
    csrs(t);
    println!("hostile: devices");
    devices(t);
    println!("hostile: DMA");
    dma(t, end);
    println!("hostile: instructions");
    instructions(t);
    println!("hostile: storms");
    storms(t);
}

fn ram_end() -> usize {
    let mut end = RAM;
    while attempt(|| {
        trap::load(end);
    })
    .is_none()
    {
        end += MIB;
    }
    end
}

/// Addresses that nothing is behind.
fn nowhere(end: usize) -> impl Iterator<Item = usize> {
    let near = (end..RAM + 128 * MIB).step_by(PAGE);
    let far = (0..0x1_4000_0000).step_by(MIB / 4);
    let powers = (33..64).flat_map(move |bit| {
        let power = 1usize << bit;
        [power, power - 8, power | RAM, power | end]
    });
    let top = [usize::MAX - 7, !0xfff, RAM - 8, end - 4];
    let is_nowhere = move |at: &usize| {
        let known = DEVICES.iter().chain([&ROM]);
        !(RAM..end - 8).contains(at)
            && known
                .clone()
                .all(|(base, len)| at.wrapping_sub(*base) >= *len)
    };
    near.chain(far).chain(powers).chain(top).filter(is_nowhere)
}

fn outside(t: &mut Checks, end: usize) {
    for at in nowhere(end) {
        // An access across the end fails at the part that is beyond it.
        let at_fault = if at == end - 4 { end } else { at };
        let got = attempt(|| {
            trap::load(at);
        });
        t.traps("load outside", got, cause::LOAD_ACCESS, at_fault);
        let got = attempt(|| trap::store(at, !0));
        t.traps("store outside", got, cause::STORE_ACCESS, at_fault);
        if at % (MIB / 4) == 0 || at > 1 << 33 {
            let got = attempt(|| trap::fetch(at & !3));
            if at != end - 4 {
                t.traps("jump outside", got, cause::FETCH_ACCESS, at & !3);
            }
        }
    }
}

/// `ld a0, 0(a1)`, `sd`, `jr a1`, each with `ebreak` behind it.
const LOAD: [u16; 3] = [0xb503, 0x0005, 0x9002];
const STORE: [u16; 3] = [0xb023, 0x00a5, 0x9002];
const JUMP: [u16; 2] = [0x8582, 0x9002];

/// Code in a page of its own, and how it is reached in a lower mode: entry 2 of a table maps all of
/// RAM for S-mode, entry 3 for U-mode.
struct Probe {
    code: usize,
    table: *mut usize,
    scheme: usize,
}

impl Probe {
    fn new() -> Self {
        let page = paging::page();
        let code = CodePage::new(page);
        code.put(0, &LOAD);
        code.put(16, &STORE);
        code.put(32, &JUMP);
        code.ready(0);
        let table = paging::page() as *mut usize;
        let probe = Self {
            code: page,
            table,
            scheme: 8,
        };
        probe.set(2, leaf(RAM, pte::RWX | pte::READY));
        probe.set(3, leaf(RAM, pte::RWX | pte::U | pte::READY));
        probe
    }
    fn set(&self, index: usize, entry: usize) {
        // SAFETY: a table of our own.
        unsafe { self.table.add(index).write_volatile(entry) };
    }
    fn satp(&self) -> usize {
        self.scheme << 60 | self.table as usize >> 12
    }
    /// Loads, stores and jumps to `at` in `mode`; whether each has this cause and address.
    fn refused(&self, t: &mut Checks, what: &str, mode: Mode, at: usize, causes: [usize; 3]) {
        let shift = if mode == Mode::U { 1 << 30 } else { 0 };
        for (offset, cause) in [16, 0, 32].into_iter().zip(causes) {
            let context = Context::new(mode, self.code + shift + offset, 0).with(11, at);
            fence();
            let got = context.run(self.satp());
            unless_interrupted(t, what, got, cause, at);
        }
    }
}

/// Checks how wild code ended, if it was not the timer that ended it.
fn unless_interrupted(t: &mut Checks, what: &str, got: Trap, cause: usize, at: usize) {
    if got.cause & cause::INTERRUPT == 0 {
        t.traps(what, Some(got), cause, at);
    }
}

const ACCESS: [usize; 3] = [cause::STORE_ACCESS, cause::LOAD_ACCESS, cause::FETCH_ACCESS];
const PAGE_FAULT: [usize; 3] = [cause::STORE_PAGE, cause::LOAD_PAGE, cause::FETCH_PAGE];

fn page_tables(t: &mut Checks, end: usize) {
    // Roots that are nowhere: the first fetch fails.
    let nowhere = [
        end,
        0,
        RAM - PAGE,
        0x1800_0000,
        end + 1 << 30,
        1 << 55,
        (1 << 56) - PAGE,
    ];
    for root in nowhere.into_iter().chain(DEVICES.map(|(base, _)| base)) {
        for scheme in 8..=10 {
            for mode in [Mode::S, Mode::U] {
                let context = Context::new(mode, RAM, 0);
                fence();
                let got = context.run(scheme << 60 | root >> 12);
                unless_interrupted(t, "a root that is nowhere", got, cause::FETCH_ACCESS, RAM);
            }
        }
    }
    let probe = Probe::new();
    let inner = paging::page();
    let innermost = paging::page();
    let at = 0x1_4020_3000; // entries 5, 1, 3
    let put = |table: usize, index: usize, entry: usize| {
        // SAFETY: a table of our own.
        unsafe { (table as *mut usize).add(index).write_volatile(entry) };
    };
    let all = pte::RWX | pte::READY;
    for (mode, user) in [(Mode::S, 0), (Mode::U, pte::U)] {
        let refused = |t: &mut Checks, what: &str, causes| probe.refused(t, what, mode, at, causes);
        // Tables and pages that are nowhere.
        for outside in [end, 0, RAM - PAGE, 0x1800_0000, RAM + (64 << 30), 1 << 55] {
            probe.set(5, leaf(outside, pte::V));
            refused(t, "a table that is nowhere", ACCESS);
            probe.set(5, leaf(inner, pte::V));
            put(inner, 1, leaf(outside, pte::V));
            refused(t, "a lower table that is nowhere", ACCESS);
            put(inner, 1, leaf(innermost, pte::V));
            put(innermost, 3, leaf(outside, all | user));
            refused(t, "a page that is nowhere", ACCESS);
        }
        // Tables that lead back, too deep, or wrongly.
        probe.set(5, leaf(probe.table as usize, pte::V));
        let loop_at = 5 << 30 | 5 << 21 | 5 << 12;
        probe.refused(t, "a loop of tables", mode, loop_at, PAGE_FAULT);
        probe.set(5, leaf(RAM + PAGE, all | user));
        refused(t, "a misaligned page of 1 GiB", PAGE_FAULT);
        probe.set(5, leaf(inner, pte::V));
        put(inner, 1, leaf(RAM + PAGE, all | user));
        refused(t, "a misaligned page of 2 MiB", PAGE_FAULT);
        put(inner, 1, leaf(innermost, pte::V));
        for bit in 54..61 {
            put(innermost, 3, leaf(RAM, all | user) | 1 << bit);
            refused(t, "a reserved bit", PAGE_FAULT);
            put(innermost, 3, leaf(RAM, all | user));
            put(inner, 1, leaf(innermost, pte::V) | 1 << bit);
            refused(t, "a reserved bit in a pointer", PAGE_FAULT);
            put(inner, 1, leaf(innermost, pte::V));
        }
        for bit in [pte::U, pte::A, pte::D] {
            put(inner, 1, leaf(innermost, pte::V | bit));
            refused(t, "A, D or U in a pointer", PAGE_FAULT);
        }
        put(inner, 1, leaf(innermost, pte::V));
        for flags in [pte::W, pte::W | pte::X] {
            put(innermost, 3, leaf(RAM, flags | user | pte::READY));
            refused(t, "W without R", PAGE_FAULT);
        }
        put(innermost, 3, leaf(RAM, all | pte::U ^ user) & !1);
        refused(t, "an entry that is not valid", PAGE_FAULT);
        // A page of 1 GiB that starts with our RAM and goes on beyond it.
        for physical in (end..RAM + (1 << 30)).step_by(3 * MIB + PAGE) {
            let shift = if user != 0 { 1 << 30 } else { 0 };
            probe.refused(
                t,
                "behind RAM by a large page",
                mode,
                physical + shift,
                ACCESS,
            );
        }
    }
}

/// A CSR instruction on x5 and x6: csrrw (1), csrrs (2), csrrc (3).
fn csr_code(number: usize, kind: usize, from: usize, to: usize) -> [u16; 2] {
    let code = number << 20 | from << 15 | kind << 12 | to << 7 | 0x73;
    [code as u16, (code >> 16) as u16]
}

/// Every CSR, read, written, set and cleared in each mode.
fn csrs(t: &mut Checks) {
    let page = CodePage::new(paging::page());
    for number in 0..4096 {
        let level = number >> 8 & 3;
        let read_only = number >> 10 == 3;
        // Read; write, set or clear by x6, and put back what was read.
        page.put(0, &csr_code(number, 2, 0, 5));
        page.put(4, &[0x9002]);
        for kind in 1..=3 {
            page.put(16 * kind, &csr_code(number, kind, 6, 5));
            page.put(16 * kind + 4, &csr_code(number, 1, 5, 0));
            page.put(16 * kind + 8, &[0x9002]);
        }
        let code = page.ready(0);
        for (mode, rank) in [(Mode::U, 0), (Mode::S, 1), (Mode::M, 3)] {
            let read = Context::new(mode, code, 0).run(0);
            let allowed = level <= rank;
            if read.cause >> 63 == 0 {
                let may =
                    read.cause == cause::ILLEGAL || allowed && read.cause == cause::BREAKPOINT;
                t.ok("a read of a CSR", may);
            }
            for kind in 1..=3 {
                for value in [0, usize::MAX, 0xaaaa_aaaa_aaaa_aaaa, RAM] {
                    let mut context = Context::new(mode, code + 16 * kind, value);
                    if mode == Mode::M {
                        // Interrupted before it is put back, mtvec or a locked PMP entry would
                        // bar the way out for good.
                        context = context.undisturbed();
                    }
                    let got = context.run(0);
                    let interrupt = got.cause >> 63 != 0;
                    let illegal = got.cause == cause::ILLEGAL;
                    // A wild satp, or a wild mask of interrupts, ends the code in other ways.
                    let must_not = !allowed || read_only || read.cause == cause::ILLEGAL;
                    if must_not && !interrupt && !illegal {
                        println!("  CSR {number:#x} {mode:?} {kind}: {got:x?}");
                        t.ok("a CSR that must not be written", false);
                    }
                }
            }
        }
        paging::open_pmp();
    }
    csr::write!(mideleg, 0);
    csr::write!(medeleg, 0);
    csr::write!(mcountinhibit, 0);
    be_patient();
}

/// Every device register, by every width, aligned and not.
fn devices(t: &mut Checks) {
    for (base, len) in DEVICES {
        let dense = (0..len.min(0x200)).step_by(4);
        let sparse = (0x200..len).step_by(if len > 0x1_0000 { 0x3ffc } else { 0xfc });
        let edges = [
            0x4000,
            0x4008,
            0xbff8,
            0xbffc,
            0x2000,
            0x2080,
            0x20_0000,
            0x20_0004,
            len - 4,
        ];
        for offset in dense
            .chain(sparse)
            .chain(edges.into_iter().filter(|at| *at < len))
        {
            touch(t, base + offset);
            touch(t, base + offset + 1);
        }
    }
    // What is sent would come back (loopback).
    // SAFETY: the modem control register.
    unsafe { ((uart::VIRT_UART + 4) as *mut u8).write_volatile(0) };
    uart::init(false);
    // SAFETY: the clock, and nobody's interrupts.
    unsafe { (0x200_bff8 as *mut usize).write_volatile(1 << 20) };
    smp::set_software_interrupt(0, false);
    be_patient();
}

fn touch(t: &mut Checks, at: usize) {
    use core::arch::asm;
    let is_data = at == uart::VIRT_UART;
    let is_power = at & !0xfff == POWER;
    macro_rules! both {
        ($load:literal, $store:literal) => {{
            // SAFETY: probes of devices; a fault is captured.
            let load = attempt(|| unsafe {
                asm!(concat!($load, " {0}, 0({1})"), out(reg) _, in(reg) at)
            });
            let mut causes = [load.map(|trap| trap.cause), None, None];
            for (place, value) in causes.iter_mut().skip(1).zip([0usize, usize::MAX]) {
                // What is written to the port's data is seen on the terminal.
                if !(is_data || is_power && value != 0) {
                    *place = attempt(|| unsafe {
                        asm!(concat!($store, " {0}, 0({1})"), in(reg) value, in(reg) at)
                    })
                    .map(|trap| trap.cause);
                }
            }
            let faults = [
                [cause::LOAD_ACCESS, cause::LOAD_MISALIGNED],
                [cause::STORE_ACCESS, cause::STORE_MISALIGNED],
                [cause::STORE_ACCESS, cause::STORE_MISALIGNED],
            ];
            for (cause, may) in causes.into_iter().zip(faults) {
                t.ok("a device answers, or with an access fault", cause.is_none_or(|c| may.contains(&c)));
            }
        }};
    }
    both!("lb", "sb");
    both!("lh", "sh");
    both!("lw", "sw");
    both!("ld", "sd");
    // SAFETY: as above.
    let atomic = attempt(|| unsafe { asm!("amoor.w {0}, zero, ({1})", out(reg) _, in(reg) at) });
    t.ok("an atomic operation on a device", atomic.is_some());
}

const QUEUE: usize = 8;

#[repr(C, align(4096))]
struct Rings {
    descriptors: [Descriptor; QUEUE],
    available: [u16; 4 + QUEUE],
    padding: [u8; 1024],
    used: [u32; 2 + 2 * QUEUE],
    buffer: [u8; 512],
}
static mut RINGS: Rings = Rings {
    descriptors: [Descriptor {
        address: 0,
        length: 0,
        flags: 0,
        next: 0,
    }; QUEUE],
    available: [0; 4 + QUEUE],
    padding: [0; 1024],
    used: [0; 2 + 2 * QUEUE],
    buffer: [0; 512],
};

/// Queues and buffers that lie outside of memory, or are nonsense.
fn dma(t: &mut Checks, end: usize) {
    let rings = addr_of_mut!(RINGS);
    // SAFETY: places in our own static.
    let (descriptors, available, used, buffer) = unsafe {
        (
            addr_of!((*rings).descriptors) as usize,
            addr_of!((*rings).available) as usize,
            addr_of!((*rings).used) as usize,
            addr_of!((*rings).buffer) as usize,
        )
    };
    let good = [descriptors, available, used];
    let outside = [
        0,
        8,
        RAM - PAGE,
        RAM - 8,
        end - 8,
        end,
        end + PAGE,
        RAM + (1 << 30),
        0x1000_0000,
        0x200_0000,
        1 << 55,
        usize::MAX - 15,
        usize::MAX - 0xfff,
    ];
    let mut found = 0;
    for slot in 0..8 {
        let device = Device(0x1000_1000 + 0x1000 * slot);
        let id = device.read(virtio::DEVICE_ID);
        if id == 0 {
            continue;
        }
        found += 1;
        let whole = Descriptor {
            address: buffer as u64,
            length: 512,
            flags: virtio::WRITABLE,
            next: 0,
        };
        for queue in 0..2 {
            // Rings that are not in memory.
            for part in 0..3 {
                for bad in outside {
                    let mut places = good;
                    places[part] = bad;
                    start(device, queue, places, [whole; QUEUE]);
                }
            }
            // Buffers that are not.
            for bad in outside {
                for flags in [
                    0,
                    virtio::WRITABLE,
                    virtio::NEXT,
                    virtio::NEXT | virtio::WRITABLE,
                    4,
                    7,
                ] {
                    for length in [0, 1, 16, 4096, 1 << 31, u32::MAX] {
                        let mut chain = [whole; QUEUE];
                        chain[0] = Descriptor {
                            address: bad as u64,
                            length,
                            flags,
                            next: 1,
                        };
                        start(device, queue, good, chain);
                        // As the data of a request to a disk: header, data, status.
                        let header = Descriptor {
                            address: buffer as u64,
                            length: 16,
                            flags: virtio::NEXT,
                            next: 1,
                        };
                        chain[0] = header;
                        chain[1] = Descriptor {
                            address: bad as u64,
                            length,
                            flags: flags | virtio::NEXT,
                            next: 2,
                        };
                        start(device, queue, good, chain);
                    }
                }
            }
            // Chains without an end, and beyond the ring.
            for next in [0, 1, QUEUE as u16, u16::MAX] {
                let mut chain = [Descriptor {
                    flags: virtio::NEXT | virtio::WRITABLE,
                    next,
                    ..whole
                }; QUEUE];
                start(device, queue, good, chain);
                chain[0].flags = virtio::NEXT;
                start(device, queue, good, chain);
            }
        }
        device.write(virtio::STATUS, 0);
        const ENTROPY: u32 = 4;
        if id == ENTROPY {
            start(device, 0, good, [whole; QUEUE]);
            // SAFETY: our own static, which the device writes.
            let index = || unsafe { (used as *const u16).add(1).read_volatile() };
            while index() == 0 {
                core::hint::spin_loop();
            }
            t.eq("the device still works", index() as usize, 1);
        }
        device.write(virtio::STATUS, 0);
    }
    t.ok("there are devices", found > 0);
}

/// Sets up a queue of a device, with one chain for it.
fn start(device: Device, queue: u32, places: [usize; 3], chain: [Descriptor; QUEUE]) {
    let rings = addr_of_mut!(RINGS);
    // SAFETY: our own static; the device was reset, or its queue is elsewhere.
    unsafe {
        device.write(virtio::STATUS, 0);
        addr_of_mut!((*rings).descriptors).write_volatile(chain);
        addr_of_mut!((*rings).available).write_volatile([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        addr_of_mut!((*rings).used).write_volatile([0; 2 + 2 * QUEUE]);
    }
    device.write(virtio::STATUS, virtio::ACKNOWLEDGE | virtio::DRIVER);
    device.write(virtio::DRIVER_FEATURES_SELECT, 1);
    device.write(virtio::DRIVER_FEATURES, 1);
    device.write(virtio::DRIVER_FEATURES_SELECT, 0);
    device.write(virtio::DRIVER_FEATURES, 1 << 28); // indirect descriptors
    let status = virtio::ACKNOWLEDGE | virtio::DRIVER | virtio::FEATURES_OK;
    device.write(virtio::STATUS, status);
    device.write(virtio::QUEUE_SELECT, queue);
    device.write(virtio::QUEUE_SIZE, QUEUE as u32);
    device.write_address(virtio::QUEUE_DESCRIPTORS, places[0]);
    device.write_address(virtio::QUEUE_AVAILABLE, places[1]);
    device.write_address(virtio::QUEUE_USED, places[2]);
    device.write(virtio::QUEUE_READY, 1);
    device.write(virtio::STATUS, status | virtio::DRIVER_OK);
    device.write(virtio::QUEUE_NOTIFY, queue);
}

/// Wild code lies in slots of this many bytes; what is behind it in its slot traps.
const SLOT: usize = 16;
const SLOTS: usize = PAGE / SLOT;

/// Every pattern of 16 bits, and many of 32, in each mode.
fn instructions(t: &mut Checks) {
    let page = CodePage::new(paging::page());
    let scratch = paging::page() + PAGE / 2;
    let mut endings = [0usize; 16];
    for mode in [Mode::U, Mode::S, Mode::M] {
        let short = (0..=u16::MAX).filter(|code| code & 3 != 3);
        let short = short.map(|code| [code, 0]);
        let mut state = 0x2545_f491_4f6c_dd1d_usize;
        let long = core::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let code = state >> 20 | 3;
            [code as u16, (code >> 16) as u16]
        });
        // M-mode's own CSRs would lose the way back, and have had their test.
        let mut codes = short.chain(long.filter(|code| code[0] & 0x7f != 0x73).take(40_000));
        loop {
            let mut filled = 0;
            for slot in 0..SLOTS {
                let Some(code) = codes.next() else { break };
                page.put(slot * SLOT, &[code[0], code[1], 0, 0, 0, 0, 0, 0]);
                filled += 1;
            }
            if filled == 0 {
                break;
            }
            for slot in 0..filled {
                let code = page.ready(slot * SLOT);
                let got = Context::new(mode, code, scratch).run(0);
                match got.cause >> 63 {
                    0 => endings[got.cause & 15] += 1,
                    _ => endings[14] += 1,
                }
            }
        }
    }
    println!(
        "hostile: {} illegal, {} interrupted",
        endings[cause::ILLEGAL],
        endings[14]
    );
    t.ok(
        "code is illegal, or leads to what is",
        endings[cause::ILLEGAL] > 100_000,
    );
    t.eq(
        "nobody asks for page faults without pages",
        endings[12] + endings[13] + endings[15],
        0,
    );
}

/// How much of each storm, on every hart.
const ROUNDS: usize = 300;

fn rage(_: usize) {
    storm::all(ROUNDS, 1 << csr::read!(mhartid));
}

fn storms(t: &mut Checks) {
    storm::prepare();
    t.eq("accesses that led astray", storm::all(ROUNDS, 1), 0);
    smp::run(smp::harts(), rage);
}
