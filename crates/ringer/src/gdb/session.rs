//! One gdb's session: its packets come in, stops go out.

use std::io;
use std::time::Duration;

use gdbstub::common::Signal;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};

use super::connection::Connection;
use super::target::{Debugger, thread};
use crate::run::Event;

/// How often a session looks whether something else has happened.
const LOOK: Duration = Duration::from_millis(10);
/// The longest packet; gdb asks for larger pieces of memory in parts.
const PACKET: usize = 16 << 10;

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nobody is there.
    #[error("it has gone away")]
    Gone,
    /// The connection fails.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It sends what is not gdb's protocol.
    #[error("{0}")]
    Protocol(String),
    /// The machine cannot be stopped.
    #[error("a hart does not stop")]
    Restless,
}

/// Serves one gdb until it leaves. The machine stands still, unless gdb lets it run.
pub fn run(connection: Connection, target: &mut Debugger) -> Result<(), SessionError> {
    let protocol = |error: &dyn std::fmt::Display| SessionError::Protocol(error.to_string());
    let stub = GdbStub::builder(connection)
        .packet_buffer_size(PACKET)
        .build()
        .map_err(|error| protocol(&error))?;
    let mut gdb = stub
        .run_state_machine(target)
        .map_err(|error| protocol(&error))?;
    loop {
        gdb = match gdb {
            GdbStubStateMachine::Idle(mut idle) => match next(idle.borrow_conn(), LOOK)? {
                Some(byte) => idle.incoming_data(target, byte),
                None if target.vm.debugged.ended().is_some() => return Ok(()),
                None => Ok(idle.into()),
            },
            GdbStubStateMachine::Running(mut running) => {
                if let Some(reason) = target.next_stop(Duration::ZERO) {
                    running.report_stop(target, reason)
                } else if let Some(byte) = next(running.borrow_conn(), Duration::ZERO)? {
                    running.incoming_data(target, byte)
                } else if let Some(reason) = target.next_stop(LOOK) {
                    running.report_stop(target, reason)
                } else {
                    Ok(running.into())
                }
            }
            GdbStubStateMachine::CtrlCInterrupt(interrupt) => {
                if !target.vm.hold() {
                    return Err(SessionError::Restless);
                }
                let reason = MultiThreadStopReason::SignalWithThread {
                    tid: thread(target.busy_hart()),
                    signal: Signal::SIGINT,
                };
                interrupt.interrupt_handled(target, Some(reason))
            }
            GdbStubStateMachine::Disconnected(end) => {
                if end.get_reason() == DisconnectReason::Kill {
                    // The conductor is gone only when the process is about to end.
                    let _ = target.vm.events.send(Event::Quit("gdb's kill"));
                }
                return Ok(());
            }
        }
        .map_err(|error| protocol(&error))?;
    }
}

fn next(connection: &mut Connection, patience: Duration) -> Result<Option<u8>, SessionError> {
    connection
        .next(patience)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => SessionError::Gone,
            _ => error.into(),
        })
}
