//! Rewritten code runs on a `Hart` as the real one, in M-mode, and is compared with the
//! definition executing the guest's own code, instruction by instruction.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringer_hart::bus::{BusFault, HartId, Lines, Width, irq};
use ringer_hart::cause::Cause;
use ringer_hart::csr::mstatus;
use ringer_hart::hart::Effects;
use ringer_hart::mode::Mode;
use ringer_hart::{Bus, GuestPhys, Hart, Privilege, Ram};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::{Insn, Op, csr, decode, encode};

use super::*;

/// The guest's RAM, where it sees it.
const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 0x8000;
/// Its data, two pages; what follows is not there.
const DATA: u64 = BASE + SIZE - 0x2000;
/// The same memory, on the real machine.
const HOST: u64 = 0x9000_0000;
const GUEST: u64 = HOST + 0x10_0000;
const TABLES: u64 = HOST + 0x1000;
const FRAME: u64 = HOST + 0x8000;
const HANDLER: u64 = HOST + 0x1_0000;
const START: u64 = HOST + 0x1_0100;
const CODE: u64 = HOST + 0x2_0000;

struct World {
    ram: Ram,
    lines: Lines,
}

impl World {
    fn new(base: u64, size: u64) -> Self {
        Self {
            ram: Ram::zeroed(GuestPhys(base), size).unwrap(),
            lines: Lines::new(),
        }
    }
    fn put(&self, at: u64, value: u64) {
        self.ram.store::<u64>(GuestPhys(at), value).unwrap();
    }
    fn get(&self, at: u64) -> u64 {
        self.ram.load::<u64>(GuestPhys(at)).unwrap()
    }
}

impl Bus for World {
    fn ram(&self) -> &Ram {
        &self.ram
    }
    fn load(&self, _: HartId, _: GuestPhys, _: Width) -> Result<u64, BusFault> {
        Err(BusFault)
    }
    fn store(&self, _: HartId, _: GuestPhys, _: Width, _: u64) -> Result<(), BusFault> {
        Err(BusFault)
    }
    fn time(&self) -> u64 {
        0
    }
    fn lines(&self, _: HartId) -> &Lines {
        &self.lines
    }
}

/// A real machine that the guest's code runs on in rewritten form.
struct Machine {
    world: World,
    dispatcher: Dispatcher,
    stretches: BTreeMap<u64, Option<Stretch>>,
    end: u64,
}

/// How rewritten code came back.
#[derive(Debug, PartialEq, Eq)]
enum Back {
    /// By way of the dispatcher.
    Left,
    /// For the definition.
    Asked,
    /// A trap of one of its instructions.
    Trapped(u64),
}

impl Machine {
    fn new() -> Self {
        let world = World::new(HOST, 0x20_0000);
        // Sv39: the guest's RAM is mapped as a shadow does for U-mode; all leaves have A and D.
        let (second, third) = (TABLES + 0x1000, TABLES + 0x2000);
        world.put(TABLES + 8 * (BASE >> 30), second >> 2 | 1);
        world.put(second + 8 * (BASE >> 21 & 511), third >> 2 | 1);
        for page in 0..SIZE >> 12 {
            world.put(third + 8 * page, ((GUEST >> 2) + (page << 10)) | 0xdf);
        }
        world.put(START, u64::from(encode(&Insn::new(Op::Mret)).unwrap()));
        let (dispatcher, code) = Dispatcher::write(CODE).unwrap();
        world.ram.write(GuestPhys(CODE), &code).unwrap();
        let end = CODE + code.len() as u64;
        Self {
            world,
            dispatcher,
            stretches: BTreeMap::new(),
            end,
        }
    }

    /// Has code for `pc`, if it can be made.
    fn prepare(&mut self, guest: &World, pc: u64, window: &Window, patience: u16) -> Option<u64> {
        let fetch = |va: u64| {
            let low = guest.ram.load::<u16>(GuestPhys(va))?;
            let high = guest.ram.load::<u16>(GuestPhys(va + 2)).unwrap_or(0);
            decode(u32::from(low) | u32::from(high) << 16)
        };
        let writer = StretchWriter {
            dispatcher: self.dispatcher,
            window,
        };
        if !self.stretches.contains_key(&pc) {
            let stretch = writer.write(pc, self.end, fetch, |_| patience);
            if let Some(stretch) = &stretch {
                let at = GuestPhys(stretch.at());
                self.world.ram.write(at, stretch.code()).unwrap();
                self.end += (stretch.code().len() as u64 + 3) & !3;
            }
            self.stretches.insert(pc, stretch);
        }
        Some(self.stretches[&pc].as_ref()?.at())
    }

    /// Runs rewritten code from `at` with the guest's registers, until it comes back.
    fn run(&self, guest: &mut Hart, frame: &mut Frame, at: u64, interrupted: bool) -> Back {
        let mut hart = Hart::new(0, START);
        hart.x = guest.x;
        hart.csrs.pmp.open();
        hart.csrs.mscratch = FRAME;
        hart.csrs.mtvec = HANDLER;
        hart.csrs.satp = 8 << 60 | TABLES >> 12;
        hart.csrs.mepc = at;
        hart.csrs.mstatus = CLOSED;
        hart.csrs.mie = irq::MSI | irq::MTI | irq::MEI;
        self.world.lines.set(irq::MTI | irq::MSI, interrupted);
        self.put_frame(frame);
        for step in 0..20_000 {
            if step == 10_000 {
                // What the monitor's timer does for code that goes round for ever.
                self.world.lines.raise(irq::MTI);
            }
            hart.step(&self.world);
            assert!(
                !hart.clone().take_interrupt(&self.world),
                "interrupts are off"
            );
            if hart.pc == HANDLER {
                assert_eq!(hart.csrs.mscratch, FRAME);
                self.get_frame(frame);
                guest.x = hart.x;
                let Dispatcher { left, asked, .. } = self.dispatcher;
                if hart.csrs.mepc == left || hart.csrs.mepc == asked {
                    assert_eq!(hart.csrs.mcause, Cause::Breakpoint.code());
                    guest.pc = frame.next;
                    let back = [Back::Left, Back::Asked];
                    return back
                        .into_iter()
                        .nth((hart.csrs.mepc == asked).into())
                        .unwrap();
                }
                let of = |(pc, stretch): (&u64, &Option<Stretch>)| {
                    let stretch = stretch.as_ref()?;
                    let offset = hart.csrs.mepc.checked_sub(stretch.at())?;
                    let inside = offset < stretch.code().len() as u64;
                    let place = Place::find(stretch.places(), offset).filter(|_| inside)?;
                    Some((*pc, place))
                };
                let (pc, place) = self.stretches.iter().find_map(of).unwrap();
                guest.pc = pc + u64::from(place.guest);
                frame.retired += u64::from(place.before);
                return Back::Trapped(hart.csrs.mcause);
            }
        }
        panic!("rewritten code does not come back");
    }

    fn put_frame(&self, frame: &Frame) {
        let mut words = vec![frame.stack, frame.registers, frame.shelter, frame.next];
        words.extend([frame.retired, frame.limit, frame.site, frame.sites]);
        words.extend(frame.shelters);
        words.push(frame.quiet);
        words.extend(frame.csrs);
        assert_eq!(core::mem::offset_of!(Frame, slots), 8 * words.len());
        words.extend(
            frame
                .slots
                .iter()
                .flat_map(|slot| [slot.va, slot.code, 0, 0]),
        );
        for (index, word) in words.into_iter().enumerate() {
            self.world.put(FRAME + 8 * index as u64, word);
        }
    }

    fn get_frame(&self, frame: &mut Frame) {
        let at = |offset: usize| self.world.get(FRAME + offset as u64);
        frame.next = at(core::mem::offset_of!(Frame, next));
        frame.retired = at(core::mem::offset_of!(Frame, retired));
        frame.limit = at(core::mem::offset_of!(Frame, limit));
        frame.site = at(core::mem::offset_of!(Frame, site));
        for (index, csr) in frame.csrs.iter_mut().enumerate() {
            *csr = at(core::mem::offset_of!(Frame, csrs) + 8 * index);
        }
    }

    fn copy_memory(&self, guest: &World) {
        for offset in (0..SIZE).step_by(8) {
            self.world.put(GUEST + offset, guest.get(BASE + offset));
        }
    }

    fn compare_memory(&self, guest: &World) {
        for offset in (0..SIZE).step_by(8) {
            let (here, there) = (self.world.get(GUEST + offset), guest.get(BASE + offset));
            assert_eq!(here, there, "memory at {:#x}", BASE + offset);
        }
    }
}

/// What a comparison went through.
#[derive(Default, Debug)]
struct Seen {
    rewritten: u64,
    left: u64,
    asked: u64,
    trapped: u64,
    defined: u64,
    longest: u64,
}

/// How a program is run.
#[derive(Clone, Debug)]
struct Way {
    privilege: Privilege,
    patience: u16,
    limit: u64,
    interrupted: bool,
    pending: u64,
    enabled: u64,
    status: u64,
}

/// Runs a program both ways. Where rewritten code comes back, all of the guest's state must be
/// what the definition makes of it in as many instructions.
fn compare(program: &[u8], registers: &[u64; 32], way: &Way, steps: u64) -> Seen {
    let guest = World::new(BASE, SIZE);
    guest.ram.write(GuestPhys(BASE), program).unwrap();
    guest.lines.raise(way.pending);
    guest.lines.take_requests();
    let mut machine = Machine::new();
    let mut hart = Hart::new(0, BASE);
    hart.x = *registers;
    hart.x[0] = 0;
    hart.mode = match way.privilege {
        Privilege::Machine => Mode::M,
        _ => Mode::S,
    };
    hart.csrs.pmp.open();
    // Traps of the guest start it anew.
    (hart.csrs.stvec, hart.csrs.mtvec) = (BASE, BASE);
    hart.csrs.mideleg = irq::SSI | irq::STI | irq::SEI;
    hart.csrs.mie = way.enabled;
    hart.csrs.mstatus |= way.status;
    let mut seen = Seen::default();
    let mut frame = Frame::default();
    let mut done = 0;
    while done < steps {
        let Some(window) = Window::of(hart.mode.privilege) else {
            break;
        };
        if hart.take_interrupt(&guest) {
            done += 1;
            continue;
        }
        let before = hart.clone();
        if let Some(code) = machine.prepare(&guest, hart.pc, window, way.patience) {
            machine.copy_memory(&guest);
            window.open(&mut hart, &guest, &mut frame);
            let old = frame.csrs;
            frame.retired = 0;
            frame.limit = way.limit;
            frame.learn(hart.pc, code);
            let back = machine.run(&mut hart, &mut frame, code, way.interrupted);
            window.close(&mut hart, &guest, &old, &frame.csrs);
            match back {
                Back::Left => seen.left += 1,
                Back::Asked => seen.asked += 1,
                Back::Trapped(_) => seen.trapped += 1,
            }
            // The definition, from the same state, for as many instructions.
            let mut other = before;
            for left in (0..frame.retired).rev() {
                other.effects = Effects::empty();
                let traps = other.counts.exceptions_total();
                assert_eq!(other.step(&guest), None);
                assert_eq!(
                    other.counts.exceptions_total(),
                    traps,
                    "the definition trapped"
                );
                if left > 0 && other.effects.contains(Effects::INTERRUPTS) {
                    assert!(
                        !other.clone().take_interrupt(&guest),
                        "an interrupt is late"
                    );
                }
            }
            assert_eq!(hart.pc, other.pc, "after {}", frame.retired);
            assert_eq!(hart.x, other.x, "at {:#x} after {}", hart.pc, frame.retired);
            for number in [
                csr::MSTATUS,
                csr::SSCRATCH,
                csr::SEPC,
                csr::STVEC,
                csr::SCAUSE,
                csr::STVAL,
                csr::MSCRATCH,
                csr::MEPC,
                csr::MTVEC,
                csr::MCAUSE,
                csr::MTVAL,
                csr::MIE,
            ] {
                let (here, there) = (
                    hart.peek_csr(&guest, number),
                    other.peek_csr(&guest, number),
                );
                assert_eq!(here, there, "CSR {number:#x} at {:#x}", hart.pc);
            }
            machine.compare_memory(&guest);
            seen.rewritten += frame.retired;
            seen.longest = seen.longest.max(frame.retired);
            done += frame.retired;
            if back == Back::Left {
                assert!(frame.retired > 0, "no way forward");
                continue;
            }
        }
        hart.step(&guest);
        // The program may have written over itself, and jumped anywhere.
        machine.stretches.retain(|_, _| false);
        frame.forget();
        seen.defined += 1;
        done += 1;
        if !(BASE..DATA).contains(&hart.pc) {
            hart.pc = BASE;
        }
    }
    seen
}

/// `s0` and `s1` point into the data, `s2` to where nothing is, and stay so.
fn registers(values: [u64; 32]) -> [u64; 32] {
    let mut x = values;
    x[8] = DATA + 0x800;
    x[9] = DATA + 0xff8;
    x[18] = BASE + SIZE - 8;
    x
}

fn target_register() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(vec![5u8, 6, 7, 28, 0, 1]),
        2 => 10u8..16,
        1 => 20u8..32,
    ]
}

fn any_register() -> impl Strategy<Value = u8> {
    prop_oneof![4 => target_register(), 1 => 0u8..32]
}

fn csr_number() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => Just(csr::SSTATUS),
        2 => Just(csr::MSTATUS),
        4 => prop::sample::select(vec![
            csr::SSCRATCH, csr::SEPC, csr::SCAUSE, csr::STVAL, csr::MSCRATCH, csr::MEPC,
            csr::MCAUSE, csr::MTVAL,
        ]),
        1 => prop::sample::select(vec![csr::SIE, csr::SIP, csr::SCOUNTEREN]),
    ]
}

fn instruction() -> impl Strategy<Value = Insn> {
    let computing: Vec<Op> = (Op::ALL.iter().copied())
        .filter(|op| {
            matches!(
                op.extension(),
                ringer_isa::Extension::I | ringer_isa::Extension::M
            ) && op.class() == ringer_isa::Class::Integer
                && !matches!(op, Op::Lui | Op::Auipc)
        })
        .collect();
    let branches = vec![Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu];
    let csrs = vec![
        Op::Csrrw,
        Op::Csrrs,
        Op::Csrrc,
        Op::Csrrwi,
        Op::Csrrsi,
        Op::Csrrci,
    ];
    let base = prop_oneof![8 => Just(8u8), 8 => Just(9u8), 1 => Just(18u8)];
    let insn = |op, rd, rs1, rs2, imm| Insn {
        rd,
        rs1,
        rs2,
        imm,
        ..Insn::new(op)
    };
    prop_oneof![
        6 => (prop::sample::select(computing), target_register(), any_register(), any_register(), 0..32)
            .prop_map(move |(op, rd, rs1, rs2, imm)| insn(op, rd, rs1, rs2, imm)),
        2 => (prop::sample::select(vec![Op::Ld, Op::Lw, Op::Lbu, Op::Lh]), target_register(), base.clone(), -64i32..64)
            .prop_map(move |(op, rd, rs1, imm)| insn(op, rd, rs1, 0, imm)),
        2 => (prop::sample::select(vec![Op::Sd, Op::Sw, Op::Sb]), any_register(), base.clone(), -64i32..64)
            .prop_map(move |(op, rs2, rs1, imm)| insn(op, 0, rs1, rs2, imm)),
        1 => (prop::sample::select(vec![Op::AmoswapD, Op::AmoaddW, Op::LrD, Op::ScD]), target_register(), any_register(), base)
            .prop_map(move |(op, rd, rs2, rs1)| insn(op, rd, rs1, if op == Op::LrD { 0 } else { rs2 }, 0)),
        2 => (prop::sample::select(vec![Op::Auipc, Op::Lui]), target_register(), any::<i32>())
            .prop_map(move |(op, rd, imm)| insn(op, rd, 0, 0, imm & !0xfff)),
        2 => (prop::sample::select(branches), any_register(), any_register(), -6i32..12)
            .prop_map(move |(op, rs1, rs2, imm)| insn(op, 0, rs1, rs2, 4 * imm)),
        1 => (target_register(), 1i32..8).prop_map(move |(rd, imm)| insn(Op::Jal, rd, 0, 0, 4 * imm)),
        6 => (prop::sample::select(csrs), target_register(), any_register(), csr_number())
            .prop_map(move |(op, rd, rs1, csr)| insn(op, rd, rs1, 0, csr.into())),
        1 => prop::sample::select(vec![Op::Ecall, Op::Fence, Op::FenceI, Op::SfenceVma, Op::Sret])
            .prop_map(Insn::new),
    ]
}

/// `auipc rd; jalr rd2, 8 + n(rd)`: a call, and a return of it.
fn call(rd: u8, link: u8, by: i32) -> [Insn; 2] {
    let auipc = Insn {
        rd,
        ..Insn::new(Op::Auipc)
    };
    let jalr = Insn {
        rd: link,
        rs1: rd,
        imm: 8 + 4 * by,
        ..Insn::new(Op::Jalr)
    };
    [auipc, jalr]
}

fn program() -> impl Strategy<Value = Vec<Insn>> {
    let piece = prop_oneof![
        12 => instruction().prop_map(|insn| vec![insn]),
        1 => (target_register(), target_register(), 0i32..6)
            .prop_filter("a register to jump by", |(rd, ..)| *rd != 0)
            .prop_map(|(rd, link, by)| call(rd, link, by).to_vec()),
    ];
    prop::collection::vec(piece, 4..60).prop_map(|pieces| pieces.concat())
}

fn way() -> impl Strategy<Value = Way> {
    let interrupts = || prop_oneof![2 => Just(0), 1 => Just(irq::SSI), 1 => Just(irq::MEI)];
    let status = prop::sample::subsequence(
        vec![
            mstatus::SIE,
            mstatus::MIE,
            mstatus::SPIE,
            mstatus::SPP,
            mstatus::FS,
        ],
        0..=5,
    );
    (
        prop_oneof![3 => Just(Privilege::Supervisor), 1 => Just(Privilege::Machine)],
        prop_oneof![Just(0u16), 1u16..80],
        prop_oneof![Just(0), 1u64..200],
        prop::bool::weighted(0.1),
        interrupts(),
        interrupts(),
        status,
    )
        .prop_map(
            |(privilege, patience, limit, interrupted, pending, enabled, status)| Way {
                privilege,
                patience,
                limit,
                interrupted,
                pending,
                enabled,
                status: status.into_iter().sum(),
            },
        )
}

fn bytes(program: &[Insn]) -> Vec<u8> {
    (program.iter())
        .flat_map(|insn| encode(insn).unwrap_or(0x13).to_le_bytes())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn rewritten_code_does_what_the_definition_does(
        program in program(),
        values in any::<[u64; 32]>(),
        way in way(),
    ) {
        compare(&bytes(&program), &registers(values), &way, 300);
    }
}

fn supervisor() -> Way {
    Way {
        privilege: Privilege::Supervisor,
        patience: 40,
        limit: 100,
        interrupted: false,
        pending: 0,
        enabled: 0,
        status: 0,
    }
}

/// A lock taken and released, as xv6 does, in a loop.
fn locks() -> Vec<u8> {
    let mut asm = Assembler::new(BASE);
    let top = asm.label_here();
    asm.csrrs(A5, csr::SSTATUS, ZERO)
        .csrrci(ZERO, csr::SSTATUS, 2);
    asm.sd(A5, 0, S0)
        .atomic(Op::AmoswapW, A4, A3, S1, ringer_isa::asm::Ordering::Acquire);
    asm.fence().sw(ZERO, 0, S1);
    asm.csrrs(A5, csr::SSTATUS, ZERO)
        .csrrsi(ZERO, csr::SSTATUS, 2);
    asm.csrrw(TP, csr::SSCRATCH, TP)
        .csrrw(TP, csr::SSCRATCH, TP);
    asm.jal(ZERO, top);
    asm.finish().unwrap()
}

#[test]
fn a_lock_is_taken_and_released_without_the_definition() {
    let seen = compare(&locks(), &registers([0; 32]), &supervisor(), 1000);
    // It lets the timer's interrupt through that ends the loop, and that is all.
    assert!(seen.defined <= 2 && seen.trapped == 0, "{seen:?}");
    // Each CSR instruction moves the limit, so only the real hart's timer ends the loop; or one
    // after which nothing is waited for.
    assert!(seen.longest > 300, "{seen:?}");
    let impatient = Way {
        patience: 0,
        ..supervisor()
    };
    let seen = compare(&locks(), &registers([0; 32]), &impatient, 1000);
    assert!(seen.longest <= 13, "{seen:?}");
}

#[test]
fn an_interrupt_that_waits_is_let_through_by_the_definition() {
    let waits = Way {
        pending: irq::SSI,
        enabled: irq::SSI,
        ..supervisor()
    };
    let seen = compare(&locks(), &registers([0; 32]), &waits, 100);
    assert!(seen.defined > 0, "{seen:?}");
    // One of the real hart's ends the run.
    let interrupted = Way {
        interrupted: true,
        ..supervisor()
    };
    let seen = compare(&locks(), &registers([0; 32]), &interrupted, 100);
    assert!(seen.longest <= 13, "{seen:?}");
}

#[test]
fn a_fault_is_precise() {
    let mut asm = Assembler::new(BASE);
    asm.addi(T0, T0, 1)
        .addi(A0, ZERO, 1)
        .ld(A1, 16, S2)
        .addi(A0, ZERO, 2);
    let seen = compare(
        &asm.finish().unwrap(),
        &registers([7; 32]),
        &supervisor(),
        50,
    );
    assert!(seen.trapped > 5, "{seen:?}");
}

#[test]
fn registers_that_rewriting_needs_can_be_jumped_by_and_linked() {
    for rd in [T0, T1, T2, T3, RA] {
        for link in [ZERO, T0, T1, T2, T3, RA] {
            let mut program = call(rd.0, link.0, 1).to_vec();
            program.push(Insn::new(Op::Ecall));
            program.push(Insn {
                rd: 10,
                rs1: link.0,
                imm: 1,
                ..Insn::new(Op::Addi)
            });
            let seen = compare(&bytes(&program), &registers([7; 32]), &supervisor(), 30);
            assert!(seen.rewritten > 10, "{seen:?}");
        }
    }
}

#[test]
fn nothing_else_is_taken_over() {
    let window = Window::of(Privilege::Supervisor).unwrap();
    let machine = Machine::new();
    let writer = StretchWriter {
        dispatcher: machine.dispatcher,
        window,
    };
    let taken = |insn: Insn| {
        let insn = decode(encode(&insn).unwrap());
        writer
            .write(BASE, CODE, |va| insn.filter(|_| va == BASE), |_| 0)
            .is_some()
    };
    // An instruction that is new to the table must be thought about here: what it does in M-mode
    // is what it does in the guest's mode.
    for op in Op::ALL {
        use ringer_isa::{Class, Extension as E};
        let harmless = matches!(
            op.extension(),
            E::I | E::M
                | E::A
                | E::Zba
                | E::Zbb
                | E::Zbc
                | E::Zbs
                | E::Zbkb
                | E::Zbkx
                | E::Zicond
                | E::Zacas
                | E::Zabha
        );
        let trapping = op.class() == Class::System;
        let Some(insn) = encode(&Insn::new(*op)).and_then(decode) else {
            continue;
        };
        if op.class() != Class::Csr {
            assert_eq!(taken(insn), harmless && !trapping, "{op:?}");
        }
    }
    let csr = |number: u16| {
        taken(Insn {
            rd: 10,
            imm: number.into(),
            ..Insn::new(Op::Csrrs)
        })
    };
    let numbers: Vec<u16> = (0..4096).filter(|number| csr(*number)).collect();
    assert_eq!(
        numbers,
        [
            csr::SSTATUS,
            csr::STVEC,
            csr::SSCRATCH,
            csr::SEPC,
            csr::SCAUSE,
            csr::STVAL
        ]
    );
    assert!(!taken(decode(0x0100_000f).unwrap()), "pause");
}

#[test]
fn stretches_use_registers_only_as_named() {
    // t0 and t1 as base, source and destination of every kind of step.
    for register in [T0, T1, T2, T3] {
        let mut asm = Assembler::new(BASE);
        asm.addi(register, S0, 0)
            .sd(register, 8, register)
            .ld(A0, 8, register);
        asm.csrrw(register, csr::SSCRATCH, register)
            .csrrw(A1, csr::SSCRATCH, register);
        asm.csrrs(register, csr::SSTATUS, ZERO)
            .csrrc(register, csr::SCAUSE, register);
        asm.csrrs(A2, csr::STVAL, register)
            .csrrwi(register, csr::SCAUSE, 9);
        asm.ecall();
        let x = registers(core::array::from_fn(|n| 0x1111 * n as u64));
        let seen = compare(&asm.finish().unwrap(), &x, &supervisor(), 60);
        assert!(seen.longest >= 9, "{register:?} {seen:?}");
    }
}
