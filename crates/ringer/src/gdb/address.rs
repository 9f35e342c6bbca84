//! Where gdb finds the stub: a TCP port or a Unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::connection::Connection;
use crate::exit::Failure;

/// As `--gdb` takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `tcp:HOST:PORT`, `tcp:PORT` or `unix:PATH`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = |why: &str| {
            Failure::usage(format_args!(
                "--gdb {text}: {why}; write --gdb=tcp:127.0.0.1:1234 or --gdb=unix:PATH"
            ))
        };
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", place)) => {
                // Whoever can connect owns the guest: only this computer, unless one says more.
                let place = match place.rsplit_once(':') {
                    None => format!("127.0.0.1:{place}"),
                    Some(("", port)) => format!("127.0.0.1:{port}"),
                    Some(_) => place.to_string(),
                };
                let mut found = place
                    .to_socket_addrs()
                    .map_err(|_| refuse("that is no host and port"))?;
                found
                    .next()
                    .map(Self::Tcp)
                    .ok_or_else(|| refuse("there is no such host"))
            }
            _ => Err(refuse("that is no address")),
        }
    }
    /// As gdb's `target remote` takes it.
    pub fn for_gdb(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
#[error("gdb cannot be listened for at {place}: {reason}; choose another place with --gdb")]
pub struct ListenError {
    place: String,
    reason: io::Error,
}

/// Takes connections.
pub enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// On a socket.
    Unix(UnixListener),
}

impl Listener {
    /// Starts to listen.
    pub fn open(address: &Address) -> Result<Self, ListenError> {
        let listener = match address {
            Address::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Address::Unix(path) => {
                let is_socket = fs::symlink_metadata(path)
                    .is_ok_and(|metadata| metadata.file_type().is_socket());
                if is_socket && UnixStream::connect(path).is_err() {
                    // What a run that was killed has left.
                    let _ = fs::remove_file(path);
                }
                UnixListener::bind(path).and_then(|listener| {
                    fs::set_permissions(path, Permissions::from_mode(0o600))?;
                    Ok(Self::Unix(listener))
                })
            }
        };
        listener.map_err(|reason| ListenError {
            place: address.for_gdb(),
            reason,
        })
    }
    /// Where it listens, if `asked` left the choice of the port to the system.
    pub fn address(&self, asked: Address) -> Address {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or(asked, Address::Tcp),
            Self::Unix(_) => asked,
        }
    }
    /// The next connection; `None` if there will be none.
    pub fn accept(&self) -> Option<Connection> {
        loop {
            let connected = match self {
                Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                    // Answers are short, and each is waited for.
                    stream.set_nodelay(true)?;
                    Ok(Connection::new(stream.into()))
                }),
                Self::Unix(listener) => listener
                    .accept()
                    .map(|(stream, _)| Connection::new(stream.into())),
            };
            match connected {
                Ok(connection) => return Some(connection),
                // Whoever called has hung up.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        for (text, address) in [
            ("tcp:1234", "127.0.0.1:1234"),
            ("tcp::1234", "127.0.0.1:1234"),
            ("tcp:0.0.0.0:9", "0.0.0.0:9"),
            ("unix:/tmp/x y", "/tmp/x y"),
        ] {
            assert_eq!(Address::parse(text).unwrap().for_gdb(), address);
        }
        for text in [
            "",
            "debian",
            "tcp:",
            "tcp:x",
            "tcp:127.0.0.1:99999",
            "unix:",
            ":1234",
        ] {
            let failure = Address::parse(text).unwrap_err();
            assert_eq!(failure.status(), 2, "{text}");
            assert!(!failure.to_string().contains('\n'));
        }
    }
}
