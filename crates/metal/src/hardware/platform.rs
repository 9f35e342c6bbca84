//! The machine that the monitor runs on, as its device tree describes it.

use alloc::vec::Vec;

use fdt::Fdt;
use fdt::node::FdtNode;
use ringer_machine::memory_map::Span;

use super::MAX_CPUS;
use super::devices::Registers;
use super::interrupts::Interrupts;
use super::power::Power;
use super::serial::Serial;
use super::timer::{HartTimer, Time};
use super::virtio::Slot;
use super::wall_clock::WallClock;

/// "OSBI", at the start of `struct fw_dynamic_info`.
const FW_DYNAMIC_MAGIC: u64 = 0x4942_534f;
/// Regions of memory at most.
const MEMORY_REGIONS: usize = 8;
/// Virtio slots at most.
const VIRTIO_SLOTS: usize = 64;
/// What is there.
#[derive(Debug)]
pub struct Platform {
    /// The harts' numbers.
    pub harts: [usize; MAX_CPUS],
    /// How many of these there are.
    pub hart_count: usize,
    /// RAM.
    pub memory: [Option<Span>; MEMORY_REGIONS],
    /// The device tree itself.
    pub device_tree: Span,
    /// The clock.
    pub time: Time,
    /// The harts' timers, in the order of `harts`.
    timers: [Option<HartTimer>; MAX_CPUS],
    /// Its ticks in a second.
    pub timebase: u64,
    /// The serial port and its interrupt.
    pub serial: Option<(Serial, u32)>,
    /// The interrupt controller, seen from the hart that starts the machine, or from another one.
    pub interrupts: Option<Interrupts>,
    /// The clock that knows the date, if there is one.
    pub wall_clock: Option<WallClock>,
    /// Places of virtio devices.
    pub virtio: [Option<Slot>; VIRTIO_SLOTS],
    /// The power switch.
    pub power: Power,
    /// Where what was loaded beside the monitor starts, and its length if that is known.
    pub bundle: Option<(u64, Option<u64>)>,
    /// Words for the monitor, from `/chosen`.
    pub arguments: &'static str,
    /// The extensions of the harts, as the device tree lists them: names with NULs between, or
    /// the older one-string form.
    pub extensions: &'static str,
    /// Random bytes of whoever built the machine.
    pub seed: &'static [u8],
}

/// What keeps the monitor from running here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no device tree where there should be one.
    #[error("there is no device tree")]
    NoTree,
    /// Without a clock there are no timers and no time slices.
    #[error(
        "the device tree has no CLINT (sifive,clint0, riscv,clint0) or ACLINT (riscv,aclint-mtimer, \
         riscv,aclint-mswi), or none for some of the harts"
    )]
    NoTimer,
}

fn registers(node: FdtNode<'_, '_>) -> Option<Registers> {
    registers_at(node, 0)
}

fn registers_at(node: FdtNode<'_, '_>, place: usize) -> Option<Registers> {
    let region = node.reg()?.nth(place)?;
    // SAFETY: the device tree says that a device is there. It comes from whoever built the
    // machine, and is as much to be trusted as the machine.
    Some(unsafe { Registers::new(region.starting_address as usize, region.size?) })
}

fn number(node: FdtNode<'_, '_>, name: &str) -> Option<u64> {
    let value = node.property(name)?.value;
    match *value {
        [_, _, _, _] => Some(u32::from_be_bytes(value.try_into().ok()?).into()),
        [_, _, _, _, _, _, _, _] => Some(u64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

fn interrupt(node: FdtNode<'_, '_>) -> Option<u32> {
    let value = node.property("interrupts")?.value;
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

fn is_enabled(node: FdtNode<'_, '_>) -> bool {
    let status = node.property("status").and_then(|status| status.as_str());
    status.is_none_or(|status| status == "okay" || status == "ok")
}

impl Platform {
    /// Reads the device tree at `tree` for the hart `boot_hart`, which is told of the next stage
    /// by `info` if the machine does that.
    pub fn read(boot_hart: usize, tree: usize, info: usize) -> Result<Self, Unusable> {
        // SAFETY: reset hands over a pointer to a device tree in RAM, and nobody writes it.
        let fdt: Fdt<'static> =
            unsafe { Fdt::from_ptr(tree as *const u8) }.map_err(|_| Unusable::NoTree)?;
        let mut harts = [0; MAX_CPUS];
        let mut hart_count = 0;
        let cpus = fdt.find_node("/cpus").ok_or(Unusable::NoTree)?;
        let nodes = cpus.children().filter(|node| {
            let is_cpu = node.property("device_type").and_then(|p| p.as_str()) == Some("cpu");
            is_cpu && is_enabled(*node)
        });
        for (place, node) in harts.iter_mut().zip(nodes) {
            *place = number(node, "reg").ok_or(Unusable::NoTree)? as usize;
            hart_count += 1;
        }

        let mut timers = [None; MAX_CPUS];
        let known = harts.iter().take(hart_count);
        for (timer, hart) in timers.iter_mut().zip(known) {
            *timer = Some(hart_timer(&fdt, *hart).ok_or(Unusable::NoTimer)?);
        }
        let time = clock(&fdt).ok_or(Unusable::NoTimer)?;
        let timebase = number(cpus, "timebase-frequency").ok_or(Unusable::NoTimer)?;

        let mut memory = [None; MEMORY_REGIONS];
        let regions = fdt
            .find_all_nodes("/memory")
            .filter_map(|node| node.reg())
            .flatten();
        for (place, region) in memory.iter_mut().zip(regions) {
            let start = region.starting_address as u64;
            *place = region.size.map(|size| Span::new(start, size as u64));
        }

        let serial = fdt
            .find_compatible(&["ns16550a", "ns16550", "snps,dw-apb-uart"])
            .and_then(|node| {
                let shift = number(node, "reg-shift").unwrap_or(0) as u32;
                let wide = number(node, "reg-io-width") == Some(4);
                let port = Serial::new(registers(node)?, shift, wide);
                Some((port, interrupt(node).unwrap_or(0)))
            });
        let plic = fdt.find_compatible(&["riscv,plic0", "sifive,plic-1.0.0"]);
        let interrupts = plic.and_then(|node| {
            // In a machine with several sockets it may not know the hart that came first.
            let mut others = harts.iter().take(hart_count);
            let context = plic_context(&fdt, node, boot_hart)
                .or_else(|| others.find_map(|hart| plic_context(&fdt, node, *hart)))?;
            Some(Interrupts::new(registers(node)?, context))
        });
        let mut virtio = [None; VIRTIO_SLOTS];
        let slots = of_kind(&fdt, &["virtio,mmio"]);
        for (place, node) in virtio.iter_mut().zip(slots) {
            *place = registers(node).map(|registers| Slot {
                registers,
                interrupt: interrupt(node),
            });
        }
        let wall_clock = fdt.find_compatible(&["google,goldfish-rtc"]);
        let power = fdt.find_compatible(&["sifive,test0", "sifive,test1"]);

        let chosen = fdt.find_node("/chosen");
        let initrd = chosen.and_then(|node| {
            let start = number(node, "linux,initrd-start")?;
            let end = number(node, "linux,initrd-end")?;
            Some((start, end.checked_sub(start)))
        });
        Ok(Self {
            harts,
            hart_count,
            memory,
            device_tree: Span::new(tree as u64, fdt.total_size() as u64),
            time,
            timers,
            timebase,
            serial,
            interrupts,
            wall_clock: wall_clock.and_then(registers).map(WallClock::new),
            virtio,
            power: Power::new(power.and_then(registers)),
            bundle: initrd.or_else(|| next_stage(info).map(|start| (start, None))),
            arguments: chosen
                .and_then(|node| node.property("bootargs")?.as_str())
                .unwrap_or_default(),
            extensions: first_hart_extensions(&fdt),
            seed: chosen
                .and_then(|node| node.property("rng-seed"))
                .map_or(&[], |seed| seed.value),
        })
    }
    /// The first bytes of what was loaded at `start`, if that is in memory.
    pub fn peek(&self, start: u64) -> Option<&'static [u8]> {
        const HEADER: u64 = 64;
        let all = Span::new(start, HEADER);
        let holds = |span: &Span| span.base <= all.base && all.end() <= span.end();
        let there = self.memory.iter().flatten().any(holds);
        // SAFETY: it is memory; this early nobody else writes any.
        there.then(|| unsafe { core::slice::from_raw_parts(start as *const u8, HEADER as usize) })
    }
    /// Whether the harts have this extension.
    pub fn has_extension(&self, name: &str) -> bool {
        let listed = || {
            self.extensions
                .split(['\0', '_'])
                .any(|known| known == name)
        };
        // In the one-string form single letters stand together in front.
        let joined = self.extensions.split('_').next().unwrap_or_default();
        let letters = joined.strip_prefix("rv64");
        listed() || (name.len() == 1 && letters.is_some_and(|letters| letters.contains(name)))
    }
    /// The places of virtio devices, in the order of their addresses.
    pub fn virtio_slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.virtio.iter().flatten().copied().collect();
        slots.sort_by_key(|slot| slot.registers.range());
        slots
    }
    /// So many milliseconds in ticks of the clock.
    pub fn ticks(&self, milliseconds: u64) -> u64 {
        self.timebase.saturating_mul(milliseconds) / 1000
    }
    /// The timer of real hart `cpu`.
    pub fn timer(&self, cpu: usize) -> Option<HartTimer> {
        self.timers.get(cpu).copied().flatten()
    }
    /// The numbers of all harts.
    pub fn harts(&self) -> &[usize] {
        self.harts.get(..self.hart_count).unwrap_or_default()
    }
}

fn first_hart_extensions(fdt: &Fdt<'static>) -> &'static str {
    let text = |name| {
        let cpus = fdt.find_node("/cpus")?;
        let property = cpus.children().find_map(|cpu| cpu.property(name))?;
        core::str::from_utf8(property.value).ok()
    };
    text("riscv,isa-extensions")
        .or_else(|| text("riscv,isa"))
        .unwrap_or_default()
}

/// The address in `struct fw_dynamic_info`, by which QEMU and Ringer tell firmware of the next
/// stage: with `-kernel` it is the bundle.
fn next_stage(info: usize) -> Option<u64> {
    if info == 0 || !info.is_multiple_of(8) {
        return None;
    }
    let info = info as *const u64;
    // SAFETY: where a2 is an aligned pointer at all, it leads to the reset ROM or RAM: reading
    // there has no effect.
    let (magic, next) = unsafe { (info.read_volatile(), info.add(2).read_volatile()) };
    (magic == FW_DYNAMIC_MAGIC && next != 0).then_some(next)
}

/// The name of the controller of `hart` by which devices say whom they interrupt.
fn controller(fdt: &Fdt<'_>, hart: usize) -> Option<u32> {
    let cpus = fdt.find_node("/cpus")?;
    let cpu = (cpus.children()).find(|node| number(*node, "reg") == Some(hart as u64))?;
    let controller =
        (cpu.children()).find(|node| node.property("interrupt-controller").is_some())?;
    Some(number(controller, "phandle")? as u32)
}

/// Whom a device interrupts, and by which interrupt.
fn targets<'a>(node: FdtNode<'_, 'a>) -> impl Iterator<Item = (u32, u32)> + use<'a> {
    let value = node.property("interrupts-extended").map(|list| list.value);
    value.unwrap_or_default().chunks_exact(8).map(|pair| {
        let cell = |at| {
            pair.iter()
                .skip(at)
                .take(4)
                .fold(0, |all, byte| all << 8 | u32::from(*byte))
        };
        (cell(0), cell(4))
    })
}

/// Which context of the PLIC interrupts `hart` in M-mode.
fn plic_context(fdt: &Fdt<'_>, plic: FdtNode<'_, '_>, hart: usize) -> Option<usize> {
    const MACHINE_EXTERNAL: u32 = 11;
    let wanted = (controller(fdt, hart)?, MACHINE_EXTERNAL);
    targets(plic).position(|target| target == wanted)
}

/// The place of `hart` in a device that has something for each hart that it interrupts so.
fn place_in(node: FdtNode<'_, '_>, controller: u32, interrupt: u32) -> Option<usize> {
    let mut harts = targets(node).filter(|(_, kind)| *kind == interrupt);
    harts.position(|(hart, _)| hart == controller)
}

const CLINT: [&str; 2] = ["riscv,clint0", "sifive,clint0"];
/// Offsets in a CLINT, which an ACLINT has as devices of their own.
const CLINT_MTIMECMP: usize = 0x4000;
const CLINT_MTIME: usize = 0xbff8;

fn of_kind<'b, 'a>(fdt: &'b Fdt<'a>, kinds: &'b [&str]) -> impl Iterator<Item = FdtNode<'b, 'a>> {
    fdt.all_nodes().filter(move |node| {
        let mut names = node.compatible().into_iter().flat_map(|names| names.all());
        names.any(|name| kinds.contains(&name)) && is_enabled(*node)
    })
}

/// The clock: all that there are agree.
fn clock(fdt: &Fdt<'_>) -> Option<Time> {
    let clint = || Some(registers(of_kind(fdt, &CLINT).next()?)?.part(CLINT_MTIME));
    // The mtimer's first registers are mtime, the others mtimecmp.
    let aclint = || registers(of_kind(fdt, &["riscv,aclint-mtimer"]).next()?);
    clint().or_else(aclint).map(Time::new)
}

fn hart_timer(fdt: &Fdt<'_>, hart: usize) -> Option<HartTimer> {
    const MACHINE_SOFTWARE: u32 = 3;
    const MACHINE_TIMER: u32 = 7;
    let controller = controller(fdt, hart)?;
    let software = |node| {
        let place = place_in(node, controller, MACHINE_SOFTWARE)?;
        Some(registers(node)?.part(4 * place))
    };
    let in_clint = |node| {
        let place = place_in(node, controller, MACHINE_TIMER)?;
        Some(registers(node)?.part(CLINT_MTIMECMP + 8 * place))
    };
    let in_aclint = |node| {
        let place = place_in(node, controller, MACHINE_TIMER)?;
        Some(registers_at(node, 1)?.part(8 * place))
    };
    let software = of_kind(fdt, &CLINT)
        .chain(of_kind(fdt, &["riscv,aclint-mswi"]))
        .find_map(software)?;
    let compare = of_kind(fdt, &CLINT)
        .find_map(in_clint)
        .or_else(|| of_kind(fdt, &["riscv,aclint-mtimer"]).find_map(in_aclint))?;
    Some(HartTimer::new(software, compare))
}
