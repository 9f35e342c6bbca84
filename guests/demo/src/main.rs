//! The guest of `ringer demo`: an S-mode kernel whose console commands let one watch the machine.
#![no_std]
#![no_main]

mod bench;
mod console;
mod csrs;
mod device_tree;
mod disk;
mod harts;
mod machine;
mod paging;
mod sbi;
mod timer;
mod trap;

use bare::println;
use machine::{Machine, Size};

core::arch::global_asm!(
    include_str!("../../bare/src/trap.s"),
    include_str!("start.s")
);

const HELP: &[(&str, &str)] = &[
    ("harts", "start the other harts and let them work together"),
    ("memory", "the machine's memory map, from the device tree"),
    ("walk ADDR", "translate a virtual address step by step"),
    (
        "paging [sv39|sv48|sv57]",
        "show or change the translation scheme",
    ),
    (
        "trap",
        "take traps of several kinds and see what the hart reports",
    ),
    ("timer", "count timer interrupts"),
    ("disk [SECTOR]", "read a sector from the virtio disk"),
    ("bench", "time small loops by the hart's counters"),
    ("csr", "show the supervisor CSRs"),
    ("echo TEXT", "print TEXT"),
    ("reboot", "reset the machine"),
    ("poweroff", "end it"),
];

#[unsafe(no_mangle)]
extern "C" fn main(hart: usize, device_tree: usize) -> ! {
    // SAFETY: straight from the firmware.
    let tree = unsafe { device_tree::DeviceTree::at(device_tree) };
    let machine = Machine::new(tree.expect("the firmware passes a device tree in a1"), hart);
    let mut console = console::Console::new(&machine);
    paging::start(&machine);
    greet(&machine);
    loop {
        console.line("demo> ", |line| run(&machine, line.trim()));
    }
}

fn greet(machine: &Machine) {
    let (major, minor) = sbi::version();
    println!("\n\x1b[1mThis is a small kernel in S-mode of a RISC-V machine.\x1b[0m");
    println!(
        "  {} harts, {} of RAM, SBI {major}.{minor} by {}",
        machine.harts().count(),
        Size(machine.ram.1),
        sbi::implementation()
    );
    println!(
        "  booted on hart {}, runs at {:#x} under Sv39",
        machine.boot_hart,
        paging::image().0
    );
    println!("Type `help` to see what you can watch it do.\n");
}

fn run(machine: &Machine, line: &str) {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim();
    match command {
        "" => {}
        "help" => HELP
            .iter()
            .for_each(|(name, what)| println!("  {name:<25}{what}")),
        "harts" => harts::command(machine),
        "memory" => machine::command(machine),
        "walk" => paging::walk(argument),
        "paging" => paging::command(machine, argument),
        "trap" => trap::command(machine),
        "timer" => timer::command(machine),
        "disk" => disk::command(machine, argument),
        "bench" => bench::command(machine),
        "csr" => csrs::command(),
        "echo" => println!("{argument}"),
        "reboot" | "poweroff" => {
            println!("Goodbye.");
            let error = sbi::reset(command == "reboot");
            println!("The firmware cannot do this (SBI error {error}).");
        }
        _ => println!("There is no command `{command}`; `help` lists them."),
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    bare::uart::break_lock();
    println!("demo: {info}");
    sbi::reset(false);
    loop {
        core::hint::spin_loop();
    }
}
