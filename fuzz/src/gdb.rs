//! Packets of a hostile gdb to a machine that runs.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;

use ringer::gdb::{self, Connection};
use ringer::runner::Threads;

use crate::monitor;

/// In an input, what a packet starts with that is sent as it is, without a frame.
const RAW: u8 = b'!';

/// Each line is a packet's body.
pub fn run(data: &[u8]) {
    let (events, inbox) = mpsc::channel();
    // Whoever asks the conductor hears that the machine has ended.
    drop(inbox);
    let vm = Arc::new(monitor::build(&monitor::config(), events));
    let threads = Threads::start(Arc::clone(&vm));
    let (mut peer, ours) = UnixStream::pair().expect("a pair of sockets");
    let mut packets = Vec::new();
    for body in data.split(|&byte| byte == b'\n') {
        match body.split_first() {
            Some((&RAW, rest)) => packets.extend(rest),
            _ => packets.extend(framed(body)),
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            // The other end may be gone already.
            let _ = peer.write_all(&packets);
            let _ = peer.shutdown(Shutdown::Write);
            let _ = peer.read_to_end(&mut Vec::new());
        });
        // That it is over is all there is to say.
        let _ = gdb::talk(Connection::new(ours.into()), &vm);
    });
    // The next one can stop it again.
    assert!(vm.hold(), "the machine does not stop");
    vm.gate.end();
    drop(threads);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    [b"$", body, format!("#{sum:02x}").as_bytes()].concat()
}
