//! A machine in the monitor's hands, with harts that count, for the targets that talk to it from
//! outside.

use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::Instant;

use ringer::args::RunOptions;
use ringer::config::VmConfig;
use ringer::console::NoConsole;
use ringer::machine::Machine;
use ringer::replay::Inputs;
use ringer::reverse::History;
use ringer::run::Event;
use ringer::runner::{Activity, Debugged, Engines, Gate, Schedule, Seat, Stops, Vm};
use ringer::semihosting::Semihosting;
use ringer_hart::{Bus, Hart};
use ringer_machine::memory_map::RAM_BASE;

/// Two harts, by the interpreter; time is counted, so that going back is possible.
const OPTIONS: &str = "
bios = 'counts'
harts = 2
memory = '1M'
engine = 'interpret'
deterministic = true
console = 'none'
";

/// `auipc s0, 1; ld t1, 0(s0); addi t1, t1, 1; sd t1, 0(s0); addi t2, t2, 1; j` to the load.
const PROGRAM: [u32; 6] = [
    0x0000_1417,
    0x0004_3303,
    0x0013_0313,
    0x0064_3023,
    0x0013_8393,
    0xff1f_f06f,
];

/// How it is described.
pub fn config() -> VmConfig {
    let options: RunOptions = toml::from_str(OPTIONS).expect("options");
    VmConfig::from_options(options).expect("a machine's description")
}

/// Builds it; nobody runs it yet.
pub fn build(config: &VmConfig, events: Sender<Event>) -> Vm {
    let machine = Machine::build(config).expect("a machine");
    let program: Vec<u8> = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    (machine.board.ram()).write(RAM_BASE, &program);
    let (engines, of_harts) = Engines::choose(config.engine, config.harts).expect("engines");
    let seats = of_harts.into_iter().enumerate().map(|(id, engine)| {
        let mut seat = Seat::new(Hart::new(id, RAM_BASE.0), engine);
        seat.activity = Activity::Running;
        Mutex::new(seat)
    });
    Vm {
        seats: seats.collect(),
        engines: Mutex::new(engines),
        sbi: None,
        htif: None,
        semihosting: Mutex::new(Semihosting::new(Box::new(NoConsole), String::new(), true)),
        gate: Gate::default(),
        schedule: Mutex::<Schedule>::default(),
        stops: Stops::default(),
        debugged: Debugged::default(),
        events,
        instructions_per_tick: 10,
        interactive: false,
        inputs: Inputs::default(),
        history: Mutex::new(Some(History::default())),
        paced: false,
        started: Instant::now(),
        machine,
    }
}
