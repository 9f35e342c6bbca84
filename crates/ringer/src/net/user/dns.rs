//! The name server that a guest sees: questions go to the host's own, and back come their answers.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::addresses::DNS_PORT;

/// Where the host's name servers are listed.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// As the C library has it: without a list, there is one on this host.
const DEFAULT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Servers taken from the list, as the C library does.
const MOST: usize = 3;
/// How long a list is believed before it is looked at again: laptops travel.
const LIFETIME: Duration = Duration::from_secs(5);
/// A list that is longer is none.
const LONGEST: u64 = 1 << 20;

/// The host's name servers.
pub struct Resolvers {
    file: PathBuf,
    read_at: Instant,
    servers: Vec<SocketAddr>,
    /// The one that is asked.
    current: usize,
}

impl Resolvers {
    /// Those of this host.
    pub fn of_host(now: Instant) -> Self {
        Self::listed_in(Path::new(RESOLV_CONF), now)
    }
    fn listed_in(file: &Path, now: Instant) -> Self {
        Self {
            file: file.to_path_buf(),
            read_at: now,
            servers: read(file).unwrap_or_else(|| vec![(DEFAULT, DNS_PORT).into()]),
            current: 0,
        }
    }
    /// These.
    #[cfg(test)]
    pub fn fixed(servers: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            file: PathBuf::new(),
            read_at: now,
            servers,
            current: 0,
        }
    }
    /// The server to ask now.
    pub fn current(&mut self, now: Instant) -> Option<SocketAddr> {
        if now.saturating_duration_since(self.read_at) > LIFETIME {
            self.read_at = now;
            // A list that cannot be read any more, perhaps for want of rights, stays as it was.
            if let Some(servers) = read(&self.file)
                && servers != self.servers
            {
                self.servers = servers;
                self.current = 0;
            }
        }
        self.servers.get(self.current).copied()
    }
    /// The current one does not answer: the next one's turn.
    pub fn next(&mut self) {
        self.current = (self.current + 1) % self.servers.len().max(1);
    }
}

/// Reads a list; `None` if there is none, or nothing in it.
fn read(file: &Path) -> Option<Vec<SocketAddr>> {
    if fs::metadata(file).ok()?.len() > LONGEST {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    let servers: Vec<SocketAddr> = text.lines().filter_map(server).take(MOST).collect();
    (!servers.is_empty()).then_some(servers)
}

/// The server that a line names.
fn server(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "nameserver" {
        return None;
    }
    // A link-local address may be followed by the interface, which cannot be kept here.
    let address: IpAddr = words.next()?.parse().ok()?;
    Some((address, DNS_PORT).into())
}

/// The answer to a question that cannot be asked: refused. `None` if it is no question.
pub fn refusal(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const RESPONSE: u8 = 0x80;
    const REFUSED: u8 = 5;
    let [i0, i1, flags, _, q0, q1, ..] = *question else {
        return None;
    };
    if question.len() < HEADER || flags & RESPONSE != 0 || question.len() > 512 {
        return None;
    }
    // The question is repeated, so what was asked beside it (EDNS) is not.
    if [q0, q1] != [0, 1] {
        return None;
    }
    let mut answer = vec![i0, i1, flags | RESPONSE, REFUSED, 0, 1, 0, 0, 0, 0, 0, 0];
    answer.extend(first_question(question.get(HEADER..)?)?);
    Some(answer)
}

/// The bytes of the first question: a name, a type and a class.
fn first_question(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return bytes.get(..at + 5),
            label @ 1..64 => at += 1 + label,
            // A name that is asked for is not compressed.
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_the_c_library_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let now = Instant::now();
        fs::write(
            file.path(),
            "# x\nsearch a b\nnameserver\nnameserver 1.2.3.4\n nameserver ::1 # y\nnameserver x\n\
             nameserver 5.6.7.8\nnameserver 9.9.9.9\n",
        )
        .unwrap();
        let mut resolvers = Resolvers::listed_in(file.path(), now);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(resolvers.current(now).unwrap().to_string());
            resolvers.next();
        }
        assert_eq!(seen, ["1.2.3.4:53", "[::1]:53", "5.6.7.8:53", "1.2.3.4:53"]);
        // It is looked at again, and kept while it cannot be read.
        fs::write(file.path(), "nameserver 7.7.7.7").unwrap();
        let later = now + 2 * LIFETIME;
        assert_eq!(resolvers.current(later).unwrap().to_string(), "7.7.7.7:53");
        drop(file);
        let later = later + 2 * LIFETIME;
        assert_eq!(resolvers.current(later).unwrap().to_string(), "7.7.7.7:53");
        let mut none = Resolvers::listed_in(Path::new("/does/not/exist"), now);
        assert_eq!(none.current(now).unwrap().to_string(), "127.0.0.1:53");
    }

    #[test]
    fn questions_are_refused_and_nothing_else() {
        let mut question = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        question.extend(b"\x03www\x07example\x00\x00\x01\x00\x01");
        let len = question.len();
        question.extend([0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
        let answer = refusal(&question).unwrap();
        assert_eq!(answer[..12], [7, 8, 0x81, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[12..], question[12..len]);
        for cut in 0..len {
            assert_eq!(refusal(&question[..cut]), None, "{cut}");
        }
        question[2] |= 0x80;
        assert_eq!(refusal(&question), None);
        let pointer = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xc0, 12, 0, 1]].concat();
        assert_eq!(refusal(&pointer), None);
    }
}
