//! `ringer console`: this terminal becomes one more screen and keyboard of a running machine.

use std::io::{self, IsTerminal, Write};
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::args::ConsoleArgs;
use super::peer::Peer;
use super::{find, simple};
use crate::control::place::Folder;
use crate::exit::{Failure, status};
use crate::input::read_some;
use crate::terminal::{self, EscapeParser, Key, Terminal};

const HELP: &str =
    "Ctrl-A d: detach, the machine runs on   Ctrl-A a: send Ctrl-A   Ctrl-A h: this help";

/// What the keyboard has to say.
enum Typed {
    Keys(Vec<u8>),
    Detach,
}

pub fn run(folder: &Folder, args: &ConsoleArgs) -> Result<u8, Failure> {
    let found = find(folder, args.name.as_deref())?;
    let peer = Peer::new(folder.socket(&found.name));
    let runtime = simple::runtime()?;
    let attached = runtime.block_on(peer.console());
    let attached =
        attached.map_err(|error| Failure::monitor(format_args!("{}: {error}", found.name)))?;
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        eprintln!("ringer: console of {}   {HELP}", found.name);
        if !attached.takes_keys {
            eprintln!(
                "ringer: this machine takes no keys from here; --deterministic machines would run differently"
            );
        }
    }
    let terminal = Terminal::open();
    terminal::raw();
    let typed = keyboard(is_terminal);
    let left = runtime.block_on(talk(attached.stream, typed));
    drop(terminal);
    // The thread at the keyboard cannot be woken; it goes with the process.
    runtime.shutdown_background();
    if is_terminal {
        match left {
            Left::Detached => eprintln!("\nringer: detached; {} runs on", found.name),
            Left::Ended => eprintln!("\nringer: the machine has ended"),
        }
    }
    Ok(status::SUCCESS)
}

/// Why the talk is over.
enum Left {
    Detached,
    Ended,
}

async fn talk(
    stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    mut typed: mpsc::Receiver<Typed>,
) -> Left {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut chunk = vec![0; 16 << 10];
    let mut listening = true;
    loop {
        tokio::select! {
            read = reader.read(&mut chunk) => {
                let shown = match read {
                    Ok(len @ 1..) => chunk.get(..len).unwrap_or_default(),
                    Ok(0) | Err(_) => return Left::Ended,
                };
                let mut screen = io::stdout().lock();
                if screen.write_all(shown).and_then(|()| screen.flush()).is_err() {
                    return Left::Detached;
                }
            }
            typed = typed.recv(), if listening => match typed {
                Some(Typed::Keys(keys)) => {
                    if writer.write_all(&keys).await.is_err() {
                        return Left::Ended;
                    }
                }
                Some(Typed::Detach) => return Left::Detached,
                // The end of a pipe: look on.
                None => listening = false,
            },
        }
    }
}

/// Reads standard input on a thread of its own.
fn keyboard(is_terminal: bool) -> mpsc::Receiver<Typed> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let mut parser = EscapeParser::default();
        let mut chunk = [0; 4096];
        while let Some(bytes) = read_some(&mut chunk) {
            let mut keys = Vec::new();
            let mut detach = false;
            for &byte in bytes {
                let key = match is_terminal {
                    true => parser.next(byte),
                    false => Some(Key::Guest(byte)),
                };
                match key {
                    None => {}
                    Some(Key::Guest(byte)) => keys.push(byte),
                    Some(Key::Detach) => detach = true,
                    Some(_) => eprint!("\r\nringer: {HELP}\r\n"),
                }
            }
            if sender.blocking_send(Typed::Keys(keys)).is_err() {
                return;
            }
            if detach {
                let _ = sender.blocking_send(Typed::Detach);
                return;
            }
        }
    });
    receiver
}
