//! Loads and stores: widths, alignment, pages, devices; and fetching.

use ringer_hart::bus::BusFault;
use ringer_hart::{Bus, Exit, GuestPhys, HartId, Interpreter, Lines, Mode, Ram, Width};
use ringer_isa::asm::register::*;
use ringer_isa::csr as number;
use ringer_isa::pte::Pte;
use ringer_lockstep::machine::{DEVICE, ROM, register};

use crate::rig::{DATA, LEAF, RAM, RAM_LEN, prepared, program, run};

#[test]
fn loads_extend_as_they_say() {
    let rig = run(|rig| {
        rig.machine.write_u64(DATA, 0xf0e1_d2c3_b4a5_9687);
        rig.code
            .li(T0, DATA)
            .lb(A0, 0, T0)
            .lbu(A1, 0, T0)
            .lh(A2, 0, T0)
            .lhu(A3, 0, T0)
            .lw(A4, 0, T0)
            .lwu(A5, 0, T0)
            .ld(A6, 0, T0)
            .ld(ZERO, 0, T0);
    });
    rig.completed();
    assert_eq!(
        rig.hart.x[10..=16],
        [
            0xffff_ffff_ffff_ff87,
            0x87,
            0xffff_ffff_ffff_9687,
            0x9687,
            0xffff_ffff_b4a5_9687,
            0xb4a5_9687,
            0xf0e1_d2c3_b4a5_9687,
        ]
    );
}

#[test]
fn stores_write_their_width() {
    let rig = program(|code| {
        code.li(T0, DATA)
            .li(T1, u64::MAX)
            .sb(T1, 0, T0)
            .sh(T1, 10, T0)
            .sw(T1, 20, T0)
            .sd(T1, 24, T0);
    });
    let cells = [0u64, 8, 16, 24].map(|at| rig.machine.read_u64(DATA + at));
    assert_eq!(cells, [0xff, 0xffff_0000, 0xffff_ffff_0000_0000, u64::MAX]);
}

#[test]
fn misaligned_accesses_work_inside_a_page_and_across() {
    for offset in [1u64, 3, 0xff9, 0xffd, 0xfff] {
        let rig = program(|code| {
            code.li(T0, DATA + offset)
                .li(T1, 0x0123_4567_89ab_cdef)
                .sd(T1, 0, T0)
                .ld(A0, 0, T0)
                .lw(A1, 0, T0)
                .lhu(A2, 0, T0)
                .lw(A3, 1, T0);
        });
        rig.completed();
        let expected = [
            0x0123_4567_89ab_cdef,
            0xffff_ffff_89ab_cdef,
            0xcdef,
            0x6789_abcd,
        ];
        assert_eq!(rig.hart.x[10..=13], expected, "{offset:#x}");
    }
}

#[test]
fn what_is_not_there_is_an_access_fault() {
    let end = RAM + RAM_LEN;
    for (address, at) in [
        (0x2000_0000u64, 0x2000_0000u64),
        (end, end),
        (u64::MAX - 7, u64::MAX - 7),
        (1 << 56, 1 << 56),
        (end - 4, end), // the part that failed
        (DEVICE + register::END, DEVICE + register::END),
    ] {
        let rig = program(|code| {
            code.li(A1, address).ld(A0, 0, A1);
        });
        assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (5, at));
        let rig = program(|code| {
            code.li(A1, address).sd(A0, 0, A1);
        });
        assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (7, at));
        if at == end {
            assert_eq!(rig.machine.read_u64(end - 8), 0, "nothing was stored");
        }
    }
}

#[test]
fn devices_see_the_width_and_refuse_what_they_like() {
    let rig = program(|code| {
        code.li(T0, DEVICE)
            .li(T1, u64::MAX)
            .sb(T1, 9, T0)
            .sh(T1, 12, T0)
            .ld(A0, 8, T0)
            .lb(A1, 9, T0)
            .lw(A2, register::WORD as i32, T0);
    });
    rig.completed();
    let seen: Vec<_> = rig
        .machine
        .take_accesses()
        .iter()
        .map(|access| (access.offset, access.width, access.written))
        .collect();
    assert_eq!(
        seen,
        [
            (9, Width::Byte, Some(0xff)),
            (12, Width::Half, Some(0xffff)),
            (8, Width::Double, None),
            (9, Width::Byte, None),
            (register::WORD, Width::Word, None),
        ]
    );
    assert_eq!(rig.hart.x[10..=11], [0xffff_0000_ff00, u64::MAX]);
    assert_eq!(
        (rig.hart.counts.device_loads, rig.hart.counts.device_stores),
        (3, 2)
    );
    let rig = program(|code| {
        code.li(T0, DEVICE).ld(A0, register::WORD as i32, T0);
    });
    rig.trapped(5, RAM + 4, DEVICE + register::WORD);
    // Devices take no misaligned accesses.
    let rig = program(|code| {
        code.li(T0, DEVICE).lw(A0, 2, T0);
    });
    rig.trapped(5, RAM + 4, DEVICE + 2);
}

#[test]
fn code_runs_from_rom_and_not_from_devices() {
    let rig = run(|rig| {
        rig.machine.rom = vec![0x0513, 0x0010, 0x8082]; // li a0, 1; ret
        rig.code.li(T0, ROM).jalr(RA, 0, T0);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10], 1);
    let rig = program(|code| {
        code.li(T0, DEVICE).jalr(RA, 0, T0);
    });
    rig.trapped(1, DEVICE, DEVICE);
}

#[test]
fn fetches_fault_at_the_part_that_is_missing() {
    let end = RAM + RAM_LEN;
    let rig = run(|rig| {
        // The first half of a 32-bit instruction in the last two bytes of RAM.
        rig.machine.write(end - 2, &[0x13, 0x00]);
        rig.code.li(T0, end - 2).jalr(RA, 0, T0);
    });
    assert_eq!(
        (
            rig.hart.csrs.mcause,
            rig.hart.csrs.mepc,
            rig.hart.csrs.mtval
        ),
        (1, end - 2, end)
    );
    // A compressed one there is whole.
    let rig = run(|rig| {
        rig.machine.write(end - 2, &[0x01, 0x00]);
        rig.code.li(T0, end - 2).jalr(RA, 0, T0);
    });
    assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mepc), (1, end));
}

#[test]
fn instructions_cross_into_another_page() {
    let prepare = |second: u64| {
        move |rig: &mut crate::rig::Rig| {
            rig.translate(3);
            rig.map_program(0);
            rig.map(0x10_0000, DATA, LEAF);
            rig.map(0x10_1000, DATA + 0x5000, second);
            rig.machine.write(DATA + 0xffe, &[0x13, 0x05]); // addi a0, a0, 1
            rig.machine.write(DATA + 0x5000, &[0x15, 0x00, 0x82, 0x80]); // ret
            rig.mode(Mode::S);
            rig.code.li(T0, 0x10_0ffe).jalr(RA, 0, T0);
        }
    };
    let rig = run(prepare(LEAF));
    rig.completed();
    assert_eq!(rig.hart.x[10], 1);
    let rig = run(prepare(LEAF & !Pte::X));
    rig.trapped(12, 0x10_0ffe, 0x10_1000);
}

#[test]
fn the_program_counter_wraps_like_any_address() {
    let rig = program(|code| {
        code.li(T0, u64::MAX - 1).jalr(RA, 0, T0);
    });
    rig.trapped(1, u64::MAX - 1, u64::MAX - 1);
}

#[test]
fn code_that_changed_runs_after_the_fence() {
    let rig = program(|code| {
        // Runs a function, changes it, runs it again.
        code.li(T0, DATA)
            .li(T1, 0x0010_0513) // li a0, 1
            .sw(T1, 0, T0)
            .li(T1, 0x8067) // ret
            .sw(T1, 4, T0)
            .fence_i()
            .jalr(RA, 0, T0)
            .mv(A1, A0)
            .li(T1, 0x0020_0513) // li a0, 2
            .sw(T1, 0, T0)
            .fence_i()
            .jalr(RA, 0, T0);
    });
    rig.completed();
    assert_eq!(rig.hart.x[10..=11], [2, 1]);
}

#[test]
fn machine_mode_borrows_the_view_of_another_mode() {
    use ringer_hart::csr::mstatus;
    let rig = run(|rig| {
        rig.translate(3);
        rig.map(0x4000, DATA, LEAF);
        rig.machine.write_u64(DATA, 77);
        rig.code
            .li(T0, 0x4000)
            .csr_set(number::MSTATUS, mstatus::MPRV | 1 << mstatus::MPP_SHIFT, T1)
            .ld(A0, 0, T0)
            .csrw(number::MSTATUS, ZERO)
            .ld(A1, 0, T0);
    });
    assert_eq!((rig.hart.csrs.mcause, rig.hart.csrs.mtval), (5, 0x4000));
    assert_eq!(rig.hart.x[10], 77);
}

/// A machine that wants to hear of stores to one page.
struct Watchful {
    machine: ringer_lockstep::Machine,
    page: GuestPhys,
}

impl Bus for Watchful {
    fn ram(&self) -> &Ram {
        self.machine.ram()
    }
    fn load(&self, hart: HartId, addr: GuestPhys, width: Width) -> Result<u64, BusFault> {
        self.machine.load(hart, addr, width)
    }
    fn store(&self, hart: HartId, at: GuestPhys, width: Width, value: u64) -> Result<(), BusFault> {
        self.machine.store(hart, at, width, value)
    }
    fn watched_page(&self) -> Option<GuestPhys> {
        Some(self.page)
    }
    fn time(&self) -> u64 {
        self.machine.time()
    }
    fn lines(&self, hart: HartId) -> &Lines {
        self.machine.lines(hart)
    }
}

#[test]
fn every_store_to_a_watched_page_is_told() {
    let rig = prepared(|rig| {
        let code = rig.code.li(T0, DATA).li(T1, 3);
        let again = code.label_here();
        // Loads go by the TLB; neither they nor stores to the next page matter.
        code.ld(A0, 0, T0)
            .lui(T2, 0x1000)
            .add(T2, T2, T0)
            .sd(T1, 0, T2)
            .sw(T1, 4, T0)
            .addi(T1, T1, -1)
            .bnez(T1, again);
    });
    let mut hart = rig.hart;
    let bus = Watchful {
        machine: rig.machine,
        page: GuestPhys(DATA),
    };
    let mut interpreter = Interpreter::new();
    for left in [3u32, 2, 1] {
        assert_eq!(interpreter.run(&mut hart, &bus, 100), Exit::Yield);
        assert_eq!(bus.machine.read_u64(DATA) >> 32, u64::from(left));
        assert_eq!(hart.x[6], u64::from(left) - 1, "told at the next jump");
    }
    assert_eq!(interpreter.run(&mut hart, &bus, 100), Exit::Budget);
}
