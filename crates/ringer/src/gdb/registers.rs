//! Reading and writing a hart's registers for gdb.

use ringer_hart::csr::{CsrWrite, mstatus};
use ringer_hart::hart::Effects;
use ringer_hart::{Bus, Hart, Mode, Privilege};
use ringer_isa::csr;

use super::architecture::{Core, Register};
use crate::runner::Seat;

/// The integer registers and the program counter.
pub fn core(hart: &Hart) -> Core {
    Core {
        x: hart.x,
        pc: hart.pc,
    }
}

/// Sets them.
pub fn set_core(seat: &mut Seat, core: &Core) {
    seat.hart.x = core.x;
    seat.hart.x[0] = 0;
    seat.hart.pc = core.pc & !1;
    changed(seat);
}

/// A register's value. `None` if there is no such register.
pub fn read<B: Bus + ?Sized>(hart: &mut Hart, bus: &B, register: Register) -> Option<u64> {
    Some(match register {
        Register::X(number) => *hart.x.get(usize::from(number))?,
        Register::Pc => hart.pc,
        Register::F(number) => *hart.f.get(usize::from(number))?,
        // These are there for a debugger even while the guest has its unit off.
        Register::Csr(csr::FFLAGS) => hart.csrs.fcsr & 0x1f,
        Register::Csr(csr::FRM) => hart.csrs.fcsr >> 5 & 7,
        Register::Csr(csr::FCSR) => hart.csrs.fcsr,
        Register::Csr(number) => as_machine(hart, |hart| hart.csr(bus, number, None).ok())?,
        Register::Privilege => hart.mode.privilege as u64,
    })
}

/// Sets a register. `None` if it cannot be set.
pub fn write<B: Bus + ?Sized>(
    seat: &mut Seat,
    bus: &B,
    register: Register,
    value: u64,
) -> Option<()> {
    let hart = &mut seat.hart;
    match register {
        Register::X(0) => {}
        Register::X(number) => *hart.x.get_mut(usize::from(number))? = value,
        Register::Pc => hart.pc = value & !1,
        Register::F(number) => {
            *hart.f.get_mut(usize::from(number))? = value;
            hart.csrs.mstatus |= mstatus::FS;
        }
        Register::Csr(csr::FFLAGS) => {
            hart.csrs.fcsr = hart.csrs.fcsr & !0x1f | value & 0x1f;
        }
        Register::Csr(csr::FRM) => {
            hart.csrs.fcsr = hart.csrs.fcsr & !0xe0 | (value & 7) << 5;
        }
        Register::Csr(csr::FCSR) => hart.csrs.fcsr = value & 0xff,
        Register::Csr(number) => {
            let write = Some(CsrWrite::all(value));
            as_machine(hart, |hart| hart.csr(bus, number, write).ok())?;
        }
        Register::Privilege => {
            hart.mode = Mode {
                privilege: Privilege::from_bits(value)?,
                ..hart.mode
            };
        }
    }
    changed(seat);
    Some(())
}

/// Engines remember nothing of the hart that may be wrong now.
pub fn changed(seat: &mut Seat) {
    seat.hart.effects |= Effects::all();
    seat.watch.forget();
}

/// CSRs as M-mode may reach them, whatever the hart's mode.
fn as_machine<T>(hart: &mut Hart, access: impl FnOnce(&mut Hart) -> T) -> T {
    let mode = std::mem::replace(&mut hart.mode, Mode::M);
    let result = access(hart);
    hart.mode = mode;
    result
}
