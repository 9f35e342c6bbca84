//! The command: from arguments to an exit status and, on standard error, one line.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Args, Command, MetalCommand, MetalRunArgs, RestoreArgs, RunArgs, RunOptions};
use crate::config::VmConfig;
use crate::exit::{Failure, Outcome, status};
use crate::metal::Machine;
use crate::terminal::ESCAPE_HELP;
use crate::{
    bundle, client, demo, doctor, image, kernel_symbols, metal, named_guest, run, test_run, trace,
};

/// Both machines that the bare-metal monitor runs on take Ctrl-A for themselves.
const METAL_ESCAPE_HELP: &str = "Ctrl-A x: quit   Ctrl-A Ctrl-A h: the bare-metal monitor's help";

/// Runs the command.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let result = match args.command {
        None => start_demo(RunOptions::default()),
        Some(Command::Demo(options)) => start_demo(*options),
        Some(Command::Run(args)) => start(*args),
        Some(Command::Restore(args)) => restore(*args),
        Some(Command::Test(args)) => test_run::run(&args),
        Some(Command::Metal(MetalCommand::Run(args))) => start_metal(*args),
        Some(Command::Bundle(args)) => {
            return match bundle::run(&args) {
                Ok(report) => {
                    print!("{report}");
                    ExitCode::SUCCESS
                }
                Err(failure) => fail(&failure),
            };
        }
        Some(Command::Image(command)) => {
            return match image::run(command) {
                Ok(report) => {
                    print!("{report}");
                    ExitCode::SUCCESS
                }
                Err(failure) => fail(&failure),
            };
        }
        Some(Command::Symbols(args)) => {
            return match kernel_symbols::run(&args) {
                Ok(report) => {
                    print!("{report}");
                    ExitCode::SUCCESS
                }
                Err(failure) => fail(&failure),
            };
        }
        Some(Command::Client(command)) => {
            return match client::run(command) {
                Ok(status) => ExitCode::from(status),
                Err(failure) => fail(&failure),
            };
        }
        Some(Command::Trace(command)) => {
            return match trace::run(&command) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => fail(&failure),
            };
        }
        Some(Command::Doctor) => {
            print!("{}", doctor::report());
            return ExitCode::SUCCESS;
        }
    };
    match result {
        Ok(outcome) => {
            if outcome.is_remarkable() {
                eprintln!("ringer: {outcome}");
            }
            ExitCode::from(outcome.status())
        }
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("ringer: {failure}");
    ExitCode::from(failure.status())
}

fn start_demo(options: RunOptions) -> Result<Outcome, Failure> {
    if !options.detach {
        greet(ESCAPE_HELP);
    }
    demo::run(options)
}

fn start(mut args: RunArgs) -> Result<Outcome, Failure> {
    if let Some(name) = &args.guest {
        args.options = named_guest::options(name, args.options)?;
    }
    let config = VmConfig::from_args(args)?;
    if !config.detach {
        greet(ESCAPE_HELP);
    }
    run::run(config)
}

fn restore(args: RestoreArgs) -> Result<Outcome, Failure> {
    start(RunArgs {
        options: RunOptions {
            restore: Some(args.saved),
            ..args.options
        },
        ..RunArgs::default()
    })
}

fn start_metal(args: MetalRunArgs) -> Result<Outcome, Failure> {
    let machine = metal::plan(args)?;
    greet(METAL_ESCAPE_HELP);
    match machine {
        Machine::Ours(config) => run::run(*config),
        Machine::Qemu(command) => Err(metal::become_qemu(command)),
    }
}

/// Tells somebody at a terminal how to get out.
fn greet(escape_help: &str) {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        eprintln!("ringer: {escape_help}");
    }
}

/// Help and version as clap prints them; mistakes as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A closed pipe behind `--help` is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut first = first.strip_prefix("error: ").unwrap_or(first).to_string();
    if first.ends_with(':') {
        // What is missing stands in lines of its own.
        let missing = lines.take_while(|line| !line.is_empty()).map(str::trim);
        first.extend(missing.flat_map(|argument| [" ", argument]));
    }
    // The mistake may be in the subcommand's name, so what is not known counts as `run`.
    let word = std::env::args().nth(1).unwrap_or_default();
    let subcommand = match word.as_str() {
        "bundle" | "image" | "trace" | "ps" | "console" | "stop" | "stats" | "wait" | "monitor"
        | "test" | "restore" | "save" | "clone" | "snapshot" => &word,
        "metal" => "metal run",
        _ => "run",
    };
    eprintln!("ringer: {first}; see `ringer {subcommand} --help`");
    ExitCode::from(status::USAGE)
}
