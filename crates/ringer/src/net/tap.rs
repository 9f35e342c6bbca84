//! A TAP interface: the guest's network card is a network interface of the host.
//! The one ioctl that makes it is `unsafe`.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use ringer_machine::backend::NetBackend;
use rustix::io::Errno;
use rustix::ioctl::{Updater, opcode};

/// Why there is no TAP interface.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The device file cannot be opened.
    #[error(
        "cannot open /dev/net/tun ({0}); load the module with `sudo modprobe tun`, or use --net none"
    )]
    NoTun(String),
    /// The user may not.
    #[error(
        "no right to use the TAP interface {0}; make it once: `sudo ip tuntap add dev {0} mode tap user $USER && sudo ip link set {0} up`, then --net tap:{0}"
    )]
    Denied(String),
    /// Somebody else has it.
    #[error("the TAP interface {0} is in use by another machine; give another with --net tap:NAME")]
    Busy(String),
    /// Anything else.
    #[error("cannot use the TAP interface {name}: {reason}")]
    Refused {
        /// Its name.
        name: String,
        /// What the system says.
        reason: Errno,
    },
}

const NAME_LEN: usize = 16;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// The kernel's `struct ifreq`, as TUNSETIFF uses it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_LEN],
    flags: u16,
    rest: [u8; 22],
}

/// An open TAP interface. Clones are the same interface.
#[derive(Clone, Debug)]
pub struct Tap {
    file: Arc<File>,
    name: String,
}

impl Tap {
    /// Opens the interface `name`, or a new one that the kernel names.
    pub fn open(name: Option<&str>) -> Result<Self, TapError> {
        let wanted = name.unwrap_or("tap%d");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open("/dev/net/tun")
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::PermissionDenied => TapError::Denied(advised(wanted)),
                _ => TapError::NoTun(error.to_string()),
            })?;
        let mut request = InterfaceRequest {
            name: [0; NAME_LEN],
            flags: IFF_TAP | IFF_NO_PI,
            rest: [0; 22],
        };
        // One byte stays zero, to end the name.
        for (to, from) in request
            .name
            .iter_mut()
            .take(NAME_LEN - 1)
            .zip(wanted.bytes())
        {
            *to = from;
        }
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which is 40 bytes on 64-bit
        // Linux, as `InterfaceRequest` is.
        let result = unsafe {
            rustix::ioctl::ioctl(
                &file,
                Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request),
            )
        };
        match result {
            Ok(()) => {}
            Err(Errno::PERM | Errno::ACCESS) => return Err(TapError::Denied(advised(wanted))),
            Err(Errno::BUSY) => return Err(TapError::Busy(wanted.to_string())),
            Err(reason) => {
                return Err(TapError::Refused {
                    name: wanted.to_string(),
                    reason,
                });
            }
        }
        let len = request.name.iter().position(|&b| b == 0);
        let name = request.name.get(..len.unwrap_or(NAME_LEN));
        Ok(Self {
            file: Arc::new(file),
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
        })
    }
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The name to use in advice: a real one instead of the kernel's pattern.
fn advised(name: &str) -> String {
    name.replace("%d", "0")
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NetBackend for Tap {
    fn send(&mut self, frame: &[u8]) {
        // A full queue or a link that is down loses the frame, as a real network does.
        let _ = rustix::io::write(&*self.file, frame);
    }
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        // The kernel cuts a frame that does not fit. One that fills the buffer to the brim may
        // have been cut, and is dropped; devices give a buffer with room to spare.
        match rustix::io::read(&*self.file, &mut *into) {
            Ok(len) if len > 0 && len < into.len() => Some(len),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_or_says_in_one_line_why_not() {
        match Tap::open(None) {
            Ok(tap) => {
                assert!(tap.name().starts_with("tap"));
                assert!(matches!(
                    Tap::open(Some(tap.name())),
                    Err(TapError::Busy(_))
                ));
            }
            Err(error) => assert!(!error.to_string().contains('\n')),
        }
    }
}
