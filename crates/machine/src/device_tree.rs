//! The device tree: what a guest is told of the board that was actually built.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ringer_hart::Bus;
use ringer_hart::extensions::{self, Profile};
use ringer_hart::memory::CACHE_BLOCK;
use vm_fdt::FdtWriter;

use crate::board::Board;
use crate::clock::TICKS_PER_SECOND;
use crate::memory_map::{self, Span, virtio_slot};
use crate::{plic, syscon};

/// The device tree cannot be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the device tree cannot be written: {0}")]
pub struct DeviceTreeError(String);

impl From<vm_fdt::Error> for DeviceTreeError {
    fn from(error: vm_fdt::Error) -> Self {
        Self(format!("{error}"))
    }
}

type Result<T = ()> = core::result::Result<T, DeviceTreeError>;

/// What the device tree says beyond the board itself.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Where the initial RAM disk lies.
    pub initrd: Option<Span>,
    /// Random bytes from which the kernel seeds its generator.
    pub seed: &'a [u8],
}

const UART_CLOCK: u32 = 3_686_400;
const PLIC_PHANDLE: u32 = 1;
const SYSCON_PHANDLE: u32 = 2;

/// Interrupt numbers at a hart's own controller, as in `mip`.
mod local {
    pub const SUPERVISOR_EXTERNAL: u32 = 9;
    pub const MACHINE_SOFTWARE: u32 = 3;
    pub const MACHINE_TIMER: u32 = 7;
    pub const MACHINE_EXTERNAL: u32 = 11;
}

fn cpu_phandle(hart: u32) -> u32 {
    SYSCON_PHANDLE + 1 + 2 * hart
}
fn cpu_intc_phandle(hart: u32) -> u32 {
    cpu_phandle(hart) + 1
}

/// Writes the device tree of `board` for `guest`.
pub fn device_tree(board: &Board, guest: &Guest<'_>) -> Result<Vec<u8>> {
    let harts = board.harts() as u32;
    let mut fdt = FdtWriter::new()?;
    node(&mut fdt, "", |fdt| {
        fdt.property_u32("#address-cells", 2)?;
        fdt.property_u32("#size-cells", 2)?;
        strings(fdt, "compatible", &["ringer,virt", "riscv-virtio"])?;
        fdt.property_string("model", "ringer,virt")?;
        chosen(fdt, guest)?;
        node(fdt, "aliases", |fdt| {
            Ok(fdt.property_string("serial0", &uart_path())?)
        })?;
        cpus(fdt, harts, board.profile())?;
        let ram = Span::new(board.ram().base().0, board.ram().len());
        node(fdt, &at("memory", ram), |fdt| {
            fdt.property_string("device_type", "memory")?;
            reg(fdt, ram)
        })?;
        ending(fdt, "poweroff", "syscon-poweroff", syscon::PASS as u32)?;
        ending(fdt, "reboot", "syscon-reboot", syscon::RESET as u32)?;
        node(fdt, "soc", |fdt| {
            fdt.property_u32("#address-cells", 2)?;
            fdt.property_u32("#size-cells", 2)?;
            fdt.property_string("compatible", "simple-bus")?;
            fdt.property_null("ranges")?;
            soc(fdt, harts, board.virtio_devices())?;
            match board.generation() {
                Some(_) => generation(fdt),
                None => Ok(()),
            }
        })
    })?;
    Ok(fdt.finish()?)
}

fn node(fdt: &mut FdtWriter, name: &str, content: impl FnOnce(&mut FdtWriter) -> Result) -> Result {
    let node = fdt.begin_node(name)?;
    content(fdt)?;
    Ok(fdt.end_node(node)?)
}

fn at(name: &str, span: Span) -> String {
    format!("{name}@{:x}", span.base.0)
}

fn uart_path() -> String {
    format!("/soc/{}", at("serial", memory_map::UART))
}

fn reg(fdt: &mut FdtWriter, span: Span) -> Result {
    Ok(fdt.property_array_u64("reg", &[span.base.0, span.len])?)
}

fn strings(fdt: &mut FdtWriter, name: &str, values: &[&str]) -> Result {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Ok(fdt.property_string_list(name, values)?)
}

fn interrupt(fdt: &mut FdtWriter, source: u32) -> Result {
    fdt.property_u32("interrupts", source)?;
    Ok(fdt.property_u32("interrupt-parent", PLIC_PHANDLE)?)
}

fn chosen(fdt: &mut FdtWriter, guest: &Guest<'_>) -> Result {
    node(fdt, "chosen", |fdt| {
        fdt.property_string("stdout-path", &uart_path())?;
        fdt.property_string("bootargs", guest.command_line)?;
        if let Some(initrd) = guest.initrd {
            fdt.property_u64("linux,initrd-start", initrd.base.0)?;
            fdt.property_u64("linux,initrd-end", initrd.end().0)?;
        }
        Ok(fdt.property("rng-seed", guest.seed)?)
    })
}

fn cpus(fdt: &mut FdtWriter, harts: u32, profile: Profile) -> Result {
    node(fdt, "cpus", |fdt| {
        fdt.property_u32("#address-cells", 1)?;
        fdt.property_u32("#size-cells", 0)?;
        fdt.property_u32("timebase-frequency", TICKS_PER_SECOND as u32)?;
        for hart in 0..harts {
            node(fdt, &format!("cpu@{hart:x}"), |fdt| cpu(fdt, hart, profile))?;
        }
        node(fdt, "cpu-map", |fdt| {
            node(fdt, "cluster0", |fdt| {
                for hart in 0..harts {
                    node(fdt, &format!("core{hart}"), |fdt| {
                        Ok(fdt.property_u32("cpu", cpu_phandle(hart))?)
                    })?;
                }
                Ok(())
            })
        })
    })
}

fn cpu(fdt: &mut FdtWriter, hart: u32, profile: Profile) -> Result {
    fdt.property_string("device_type", "cpu")?;
    fdt.property_string("compatible", "riscv")?;
    fdt.property_string("status", "okay")?;
    fdt.property_u32("reg", hart)?;
    fdt.property_phandle(cpu_phandle(hart))?;
    fdt.property_string("mmu-type", profile.paging.name())?;
    fdt.property_string("riscv,isa", &profile.isa_string())?;
    fdt.property_string("riscv,isa-base", extensions::BASE)?;
    let told: Vec<&str> = profile.extensions().collect();
    strings(fdt, "riscv,isa-extensions", &told)?;
    for (extension, property) in [
        ("zicbom", "riscv,cbom-block-size"),
        ("zicbop", "riscv,cbop-block-size"),
        ("zicboz", "riscv,cboz-block-size"),
    ] {
        if told.contains(&extension) {
            fdt.property_u32(property, CACHE_BLOCK as u32)?;
        }
    }
    node(fdt, "interrupt-controller", |fdt| {
        fdt.property_string("compatible", "riscv,cpu-intc")?;
        fdt.property_u32("#address-cells", 0)?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        Ok(fdt.property_phandle(cpu_intc_phandle(hart))?)
    })
}

/// A node that says which word ends the run when written to the test device.
fn ending(fdt: &mut FdtWriter, name: &str, compatible: &str, value: u32) -> Result {
    node(fdt, name, |fdt| {
        fdt.property_string("compatible", compatible)?;
        fdt.property_u32("regmap", SYSCON_PHANDLE)?;
        fdt.property_u32("offset", 0)?;
        Ok(fdt.property_u32("value", value)?)
    })
}

fn soc(fdt: &mut FdtWriter, harts: u32, virtio_devices: usize) -> Result {
    let to_each_hart = |first: u32, second: u32| -> Vec<u32> {
        (0..harts)
            .flat_map(|hart| {
                let intc = cpu_intc_phandle(hart);
                [intc, first, intc, second]
            })
            .collect()
    };
    node(fdt, &at("test", memory_map::SYSCON), |fdt| {
        strings(
            fdt,
            "compatible",
            &["sifive,test1", "sifive,test0", "syscon"],
        )?;
        reg(fdt, memory_map::SYSCON)?;
        Ok(fdt.property_phandle(SYSCON_PHANDLE)?)
    })?;
    node(fdt, &at("rtc", memory_map::RTC), |fdt| {
        fdt.property_string("compatible", "google,goldfish-rtc")?;
        reg(fdt, memory_map::RTC)?;
        interrupt(fdt, memory_map::RTC_IRQ)
    })?;
    node(fdt, &at("clint", memory_map::ACLINT), |fdt| {
        strings(fdt, "compatible", &["sifive,clint0", "riscv,clint0"])?;
        reg(fdt, memory_map::ACLINT)?;
        let wires = to_each_hart(local::MACHINE_SOFTWARE, local::MACHINE_TIMER);
        Ok(fdt.property_array_u32("interrupts-extended", &wires)?)
    })?;
    node(fdt, &at("plic", memory_map::PLIC), |fdt| {
        strings(fdt, "compatible", &["sifive,plic-1.0.0", "riscv,plic0"])?;
        reg(fdt, memory_map::PLIC)?;
        fdt.property_u32("#address-cells", 0)?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_u32("riscv,ndev", plic::SOURCES as u32 - 1)?;
        let wires = to_each_hart(local::MACHINE_EXTERNAL, local::SUPERVISOR_EXTERNAL);
        fdt.property_array_u32("interrupts-extended", &wires)?;
        Ok(fdt.property_phandle(PLIC_PHANDLE)?)
    })?;
    node(fdt, &at("serial", memory_map::UART), |fdt| {
        fdt.property_string("compatible", "ns16550a")?;
        reg(fdt, memory_map::UART)?;
        fdt.property_u32("clock-frequency", UART_CLOCK)?;
        interrupt(fdt, memory_map::UART_IRQ)
    })?;
    for slot in 0..virtio_devices {
        let span = virtio_slot(slot);
        node(fdt, &at("virtio_mmio", span), |fdt| {
            fdt.property_string("compatible", "virtio,mmio")?;
            reg(fdt, span)?;
            interrupt(fdt, memory_map::VIRTIO_IRQ + slot as u32)
        })?;
    }
    Ok(())
}

fn generation(fdt: &mut FdtWriter) -> Result {
    node(fdt, &at("vmgenid", memory_map::GENERATION), |fdt| {
        fdt.property_string("compatible", "microsoft,vmgenid")?;
        reg(fdt, memory_map::GENERATION)?;
        interrupt(fdt, memory_map::GENERATION_IRQ)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Named, test_board};
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::sync::Arc;
    use fdt::Fdt;

    fn tree(harts: usize) -> Vec<u8> {
        let board = test_board(harts, |builder| {
            let device =
                |name| -> crate::board::MakeDevice { Box::new(move |_, _| Arc::new(Named(name))) };
            let builder = builder.virtio(device("virtio0")).virtio(device("virtio1"));
            builder.generation([1; 16])
        });
        let guest = Guest {
            command_line: "console=ttyS0 quiet",
            initrd: Some(Span::new(0x8800_0000, 0x1234)),
            seed: &[7; 32],
        };
        device_tree(&board, &guest).unwrap()
    }
    fn text(fdt: &Fdt<'_>, path: &str, property: &str) -> String {
        let node = fdt.find_node(path).unwrap();
        let value = node.property(property).unwrap().value;
        String::from_utf8(value.to_vec()).unwrap()
    }
    fn cells(fdt: &Fdt<'_>, path: &str, property: &str) -> Vec<u32> {
        let node = fdt.find_node(path).unwrap();
        let value = node.property(property).unwrap().value;
        value
            .chunks(4)
            .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn harts() {
        let blob = tree(3);
        let fdt = Fdt::new(&blob).unwrap();
        assert_eq!(fdt.cpus().count(), 3);
        for (hart, cpu) in fdt.cpus().enumerate() {
            assert_eq!(cpu.ids().first(), hart);
            assert_eq!(cpu.timebase_frequency(), 10_000_000);
        }
        let cpu = "/cpus/cpu@2";
        assert_eq!(
            text(&fdt, cpu, "riscv,isa"),
            Profile::FULL.isa_string() + "\0"
        );
        assert_eq!(text(&fdt, cpu, "riscv,isa-base"), "rv64i\0");
        let names = text(&fdt, cpu, "riscv,isa-extensions");
        assert!(names.starts_with("i\0m\0a\0f\0d\0c\0zicbom\0"), "{names}");
        assert_eq!(text(&fdt, cpu, "mmu-type"), "riscv,sv57\0");
        for block in ["cbom", "cbop", "cboz"] {
            let property = format!("riscv,{block}-block-size");
            assert_eq!(cells(&fdt, cpu, &property), [64]);
        }
    }

    #[test]
    fn interrupts_lead_to_every_hart() {
        let blob = tree(2);
        let fdt = Fdt::new(&blob).unwrap();
        let intc = |hart| {
            let path = format!("/cpus/cpu@{hart}/interrupt-controller");
            cells(&fdt, &path, "phandle")[0]
        };
        let (a, b) = (intc(0), intc(1));
        assert_eq!(
            cells(&fdt, "/soc/plic@c000000", "interrupts-extended"),
            [a, 11, a, 9, b, 11, b, 9]
        );
        assert_eq!(
            cells(&fdt, "/soc/clint@2000000", "interrupts-extended"),
            [a, 3, a, 7, b, 3, b, 7]
        );
        let plic = cells(&fdt, "/soc/plic@c000000", "phandle");
        for (path, irq) in [
            ("/soc/serial@10000000", 10),
            ("/soc/rtc@101000", 11),
            ("/soc/vmgenid@103000", 12),
            ("/soc/virtio_mmio@10001000", 1),
            ("/soc/virtio_mmio@10002000", 2),
        ] {
            assert_eq!(cells(&fdt, path, "interrupts"), [irq]);
            assert_eq!(cells(&fdt, path, "interrupt-parent"), plic);
        }
        assert!(fdt.find_node("/soc/virtio_mmio@10003000").is_none());
    }

    #[test]
    fn memory_boot_and_endings() {
        let blob = tree(1);
        let fdt = Fdt::new(&blob).unwrap();
        let memory = fdt.memory().regions().next().unwrap();
        assert_eq!(memory.starting_address as usize, 0x8000_0000);
        assert_eq!(memory.size, Some(1 << 20));
        assert_eq!(fdt.chosen().bootargs(), Some("console=ttyS0 quiet"));
        assert!(fdt.chosen().stdout().is_some());
        assert_eq!(
            cells(&fdt, "/chosen", "linux,initrd-start"),
            [0, 0x8800_0000]
        );
        assert_eq!(cells(&fdt, "/chosen", "linux,initrd-end"), [0, 0x8800_1234]);
        assert_eq!(
            fdt.aliases().unwrap().resolve("serial0"),
            Some("/soc/serial@10000000")
        );
        let test = cells(&fdt, "/soc/test@100000", "phandle");
        assert_eq!(cells(&fdt, "/poweroff", "regmap"), test);
        assert_eq!(cells(&fdt, "/poweroff", "value"), [0x5555]);
        assert_eq!(cells(&fdt, "/reboot", "value"), [0x7777]);
    }

    #[test]
    fn a_command_line_that_cannot_be_written_is_an_error() {
        let board = test_board(1, |builder| builder);
        let guest = Guest {
            command_line: "a\0b",
            initrd: None,
            seed: &[],
        };
        let error = device_tree(&board, &guest).unwrap_err().to_string();
        assert!(error.contains("NUL"), "{error}");
    }

    #[test]
    fn the_largest_machine_has_a_tree() {
        let blob = tree(memory_map::MAX_HARTS);
        assert_eq!(Fdt::new(&blob).unwrap().cpus().count(), 512);
    }
}
