//! The gdb stub: `ringer run … --gdb` lets gdb look into the guest and stop it. Harts are gdb's
//! threads. What gdb asks of a hart ends in `runner::watch`.

mod address;
mod architecture;
mod connection;
mod memory;
mod registers;
mod session;
mod target;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

pub use address::Address;
use address::Listener;
pub use connection::Connection;
pub use session::SessionError;
use target::Debugger;

use crate::exit::Failure;
use crate::runner::{Vm, sit};

/// How long the end of the run waits until gdb has heard of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where gdb will come in.
pub struct Door {
    listener: Listener,
    address: Address,
}

impl Door {
    /// Starts to listen; nobody answers yet.
    pub fn open(address: &Address) -> Result<Self, Failure> {
        let listener = Listener::open(address).map_err(Failure::monitor)?;
        let address = listener.address(address.clone());
        Ok(Self { listener, address })
    }
    /// Serves gdb, one after the other, as long as the machine exists. With `wait`, the guest does
    /// not run before gdb lets it.
    pub fn serve(self, vm: Arc<Vm>, wait: bool) -> Server {
        let Self { listener, address } = self;
        if wait {
            vm.gate.hold();
            // A hart that the SBI starts is shown where it begins, not where it was reset.
            for mut seat in vm.seats.iter().map(sit) {
                seat.wake(&vm);
            }
        }
        let doing = if wait {
            "waits for gdb"
        } else {
            "can be debugged"
        };
        eprint!(
            "ringer: the guest {doing}: gdb-multiarch -ex 'target remote {}'\r\n",
            address.for_gdb()
        );
        let (tell, done) = mpsc::channel();
        let guest = Arc::clone(&vm);
        thread::spawn(move || {
            while guest.debugged.ended().is_none()
                && let Some(connection) = listener.accept()
            {
                if let Err(reason) = talk(connection, &guest) {
                    eprint!("\r\nringer: the session with gdb is over: {reason}\r\n");
                }
            }
            // Nobody listens only if the process is about to end.
            let _ = tell.send(());
        });
        Server { done, vm }
    }
}

/// Serves one gdb until it leaves. The machine stands still, unless gdb lets it run; afterwards it
/// runs on.
pub fn talk(connection: Connection, vm: &Arc<Vm>) -> Result<(), SessionError> {
    let mut debugger = Debugger::take(Arc::clone(vm)).ok_or(SessionError::Restless)?;
    let ended = session::run(connection, &mut debugger);
    debugger.let_go();
    ended
}

/// Serves gdb.
pub struct Server {
    /// Hears when a session that was told of the machine's end is over.
    done: Receiver<()>,
    vm: Arc<Vm>,
}

impl Server {
    /// The machine has ended with this exit status: gdb is told.
    pub fn finish(self, status: u8) {
        if self.vm.debugged.end(status) {
            let _ = self.done.recv_timeout(FAREWELL);
        }
    }
}
