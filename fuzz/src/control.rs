//! Requests to a machine's control socket: any bytes, and actions as JSON.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ringer::control::prompt::Line;
use ringer::control::{self, Action, Refused, Reply, Request, Server};
use ringer::inspect;
use ringer::run::Event;
use ringer::runner::Vm;
use tempfile::TempDir;

use crate::monitor;

/// How long any answer may take; the fuzzer itself is less patient.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that stands still, and its socket.
struct Served {
    socket: PathBuf,
    _dir: TempDir,
    _server: Server,
}

/// The first byte chooses whether the rest is sent as it is, or as an action.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let mut peer = UnixStream::connect(&served().socket).expect("the socket");
    peer.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let is_action = first & 1 != 0;
    if is_action {
        let len = rest.len();
        let head = format!(
            "POST /actions HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
        );
        peer.write_all(head.as_bytes()).expect("the head is taken");
        peer.write_all(rest).expect("an action is taken");
    } else {
        // It may be shown out at once.
        let _ = peer.write_all(rest);
        let _ = peer.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match peer.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if !is_action => {
            // Being thrown out is fine, being kept waiting is not.
            let waits = error.kind() == std::io::ErrorKind::WouldBlock;
            assert!(!waits, "no end after {:?}", String::from_utf8_lossy(rest));
        }
        Err(error) => panic!("an action has no answer: {error}"),
    }
    if is_action {
        let known = [&b"HTTP/1.1 200 "[..], b"HTTP/1.1 400 ", b"HTTP/1.1 409 "];
        let is_known = known.iter().any(|status| answer.starts_with(status));
        assert!(is_known, "{}", String::from_utf8_lossy(&answer));
    }
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("control.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (events, inbox) = mpsc::channel();
        let config = monitor::config();
        let vm = Arc::new(monitor::build(&config, events.clone()));
        let server = control::serve(listener, &config, &vm.machine, events).expect("a server");
        thread::spawn(move || answer_all(&vm, &inbox));
        Served {
            socket,
            _dir: dir,
            _server: server,
        }
    })
}

fn answer_all(vm: &Vm, inbox: &Receiver<Event>) {
    for event in inbox {
        if let Event::Asked(Request { action, reply_to }) = event {
            reply_to(look(vm, action));
        }
    }
}

/// Does what is only a look; the rest would change files, or end the machine.
fn look(vm: &Vm, action: Action) -> Reply {
    match action {
        Action::Harts {} => inspect::harts(vm),
        Action::Registers { hart } => inspect::registers(vm, hart),
        Action::Memory {
            hart,
            address,
            count,
        } => inspect::memory(vm, hart, address.0, count),
        Action::Disassemble {
            hart,
            address,
            count,
        } => inspect::disassembly(vm, hart, address.map(|word| word.0), count),
        Action::HostCode { hart, address } => {
            inspect::host_code(vm, hart, address.map(|word| word.0))
        }
        Action::Walk { hart, address } => inspect::walk(vm, hart, address.0),
        Action::Prompt { line } => match Line::parse(&line) {
            Ok(Line::Action(action)) => look(vm, action),
            Ok(Line::Help | Line::Console) => Err(Refused::because("nothing to show")),
            Err(why) => Err(Refused::because(why)),
        },
        _ => Err(Refused::because("not here")),
    }
}
