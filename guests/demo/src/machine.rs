//! What the device tree says about the machine, and the `memory` command.

use crate::device_tree::DeviceTree;
use bare::println;

/// The machine the demo runs on.
pub struct Machine {
    /// The device tree.
    pub tree: DeviceTree,
    /// Ticks of `time` in a second.
    pub timebase: usize,
    /// The hart that booted.
    pub boot_hart: usize,
    /// Start and size of RAM.
    pub ram: (usize, usize),
}

impl Machine {
    /// Reads the tree.
    pub fn new(tree: DeviceTree, boot_hart: usize) -> Machine {
        let timebase = tree
            .named("cpus")
            .and_then(|n| n.cell("timebase-frequency"))
            .unwrap_or(10_000_000);
        let ram = tree
            .named("memory@")
            .and_then(|n| n.reg())
            .unwrap_or((0x8000_0000, 0x400_0000));
        Machine {
            tree,
            timebase,
            boot_hart,
            ram,
        }
    }

    /// The ids of the harts.
    pub fn harts(&self) -> impl Iterator<Item = usize> {
        self.tree
            .nodes()
            .filter(|n| n.string("device_type") == Some("cpu"))
            .filter_map(|n| n.cell("reg"))
    }

    /// Clock ticks as nanoseconds.
    pub fn nanoseconds(&self, ticks: usize) -> usize {
        (ticks as u128 * 1_000_000_000 / self.timebase.max(1) as u128) as usize
    }

    /// Clock ticks as microseconds.
    pub fn microseconds(&self, ticks: usize) -> usize {
        self.nanoseconds(ticks) / 1000
    }

    /// Clock ticks as milliseconds.
    pub fn milliseconds(&self, ticks: usize) -> usize {
        self.nanoseconds(ticks) / 1_000_000
    }
}

/// A size for people.
pub struct Size(pub usize);

impl Size {
    fn split(&self) -> (usize, &'static str) {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => (n >> 30, "GiB"),
            n if n >= 1 << 20 => (n >> 20, "MiB"),
            n if n >= 1 << 10 => (n >> 10, "KiB"),
            n => (n, "B"),
        }
    }
}

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let (number, unit) = self.split();
        write!(f, "{number} {unit}")
    }
}

fn show(start: usize, size: usize, what: &str, kind: &str) {
    let (number, unit) = Size(size).split();
    println!(
        "  {start:#012x}  {:#012x}  {number:>5} {unit:<3}  {what:<22} {kind}",
        start + size - 1
    );
}

/// The `memory` command.
pub fn command(machine: &Machine) {
    let model = machine
        .tree
        .nodes()
        .next()
        .and_then(|root| root.string("model"))
        .unwrap_or("unnamed");
    println!(
        "From the device tree ({} bytes, model {model}), by address:",
        machine.tree.size()
    );
    println!("  start         end           size       node                   what it is");
    let mut from = 0;
    loop {
        let next = machine.tree.nodes().filter_map(|node| {
            let kind = node.string("compatible").or(node.string("device_type"))?;
            let (start, size) = node
                .reg()
                .filter(|&(start, size)| size > 0 && start >= from)?;
            Some((start, size, node.name, kind))
        });
        let Some((start, size, name, kind)) = next.min_by_key(|device| device.0) else {
            break;
        };
        show(start, size, name, kind);
        from = start + 1;
    }
    let (start, end) = crate::paging::image();
    show(start, end - start, "", "this kernel, inside the RAM");
}
