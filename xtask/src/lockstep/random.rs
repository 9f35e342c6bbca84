//! Random programs that use all modes, page tables, traps and CSRs, and always come to an end.

mod body;
mod dice;
mod handlers;
pub mod layout;
mod register;
mod tables;

use super::state;
use dice::Dice;
use ringer_isa::csr::{self, menvcfg};

/// A program in memory, from [`layout::BASE`].
pub struct Program {
    /// What RAM holds at the start.
    pub image: Vec<u8>,
}

impl Program {
    /// The program that follows from a seed.
    pub fn new(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let mut image = vec![0; (layout::IMAGE_END - layout::BASE) as usize];
        let mut put = |at: u64, bytes: &[u8]| {
            let at = (at - layout::BASE) as usize;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(layout::BASE, &handlers::prologue(&setup(dice)));
        put(layout::MACHINE_HANDLER, &handlers::machine());
        put(layout::SUPERVISOR_HANDLER, &handlers::supervisor());
        put(layout::END, &handlers::end());
        put(layout::BODY, &body::generate(dice));
        put(layout::CALLED, &handlers::called());
        let integers = (0..32).flat_map(|_| dice.interesting().to_le_bytes());
        let registers: Vec<u8> = integers.collect();
        put(layout::REGISTERS, &registers);
        let floats: Vec<u8> = (0..32).flat_map(|_| dice.float().to_le_bytes()).collect();
        put(layout::REGISTERS + 256, &floats);
        let kept = [
            layout::MACHINE_LOG,
            layout::MACHINE_LOG + layout::LOG_LEN,
            layout::SUPERVISOR_LOG,
            layout::SUPERVISOR_LOG + layout::LOG_LEN,
        ];
        let kept: Vec<u8> = kept.iter().flat_map(|word| word.to_le_bytes()).collect();
        put(layout::KEPT, &kept);
        let words = layout::DATA_PAGES * 4096 / 8;
        let data: Vec<u8> = (0..words)
            .flat_map(|_| dice.float().to_le_bytes())
            .collect();
        put(layout::DATA, &data);
        put(layout::TABLES, &tables::generate(dice));
        Self { image }
    }
}

/// Which exceptions may be delegated: not those that the M-mode handler has to see.
pub const DELEGATED: u64 = 0xb3ff & !(1 << 0 | 1 << 1 | 1 << 9 | 1 << 12);

/// A value for `menvcfg` or `senvcfg`. Without CDE, which QEMU has without Smcdeleg; and CBIE is
/// never 2: that is reserved, and QEMU keeps it where Ringer writes 0, as both may.
fn environment(dice: &mut Dice) -> u64 {
    let bits = dice.bits() & !(1 << 60);
    match bits & menvcfg::CBIE == 2 << menvcfg::CBIE_SHIFT {
        true => bits & !menvcfg::CBIE,
        false => bits,
    }
}

/// The CSRs that the prologue writes.
fn setup(dice: &mut Dice) -> Vec<(u16, u64)> {
    let environment = menvcfg::STCE | environment(dice);
    let senvcfg = self::environment(dice);
    let mut setup = vec![
        (csr::MTVEC, layout::MACHINE_HANDLER | dice.below(2)),
        (csr::STVEC, layout::SUPERVISOR_HANDLER | dice.below(2)),
        // The last PMP entry opens everything that no other one matches.
        (csr::PMPADDR0 + 15, (1 << 54) - 1),
        (csr::PMPCFG0 + 2, 0x1f << 56),
        (csr::STIMECMP, u64::MAX),
        (csr::MENVCFG, environment),
        (csr::SENVCFG, senvcfg),
        (csr::MEDELEG, dice.bits() & DELEGATED),
        (csr::MIDELEG, dice.bits() & body::SUPERVISOR_INTERRUPTS),
        (csr::MCOUNTEREN, dice.bits()),
        (csr::SCOUNTEREN, dice.bits()),
        (csr::SATP, tables::root(dice)),
        (csr::MIE, 0),
        (csr::MIP, 0),
    ];
    // What a reset leaves as it was.
    let left = [
        csr::MSCRATCH,
        csr::MEPC,
        csr::MCAUSE,
        csr::MTVAL,
        csr::SSCRATCH,
        csr::SEPC,
        csr::SCAUSE,
        csr::STVAL,
        csr::PMPCFG0,
    ];
    setup.extend(left.map(|number| (number, 0)));
    setup.extend((0..15).map(|index| (csr::PMPADDR0 + index, 0)));
    setup
}

/// Whether an instruction reads a counter or the time, which two machines do not share.
pub fn reads_clock(insn: &ringer_isa::Insn) -> bool {
    insn.op.class() == ringer_isa::table::Class::Csr && !body::repeatable(insn.imm as u16)
}
