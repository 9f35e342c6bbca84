//! Network cards as `--net` and `--publish` describe them.

use std::fmt;

use crate::exit::Failure;

use super::user::{Policy, Publish};

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// A network card as described by `--net`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetSpec {
    /// What it is connected to.
    pub kind: NetKind,
    /// Its address; without one it is random.
    pub mac: Option<MacAddress>,
}

/// What a network card is connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetKind {
    /// The stack in this process.
    User(Policy),
    /// A TAP interface; without a name the kernel picks one.
    Tap(Option<String>),
    /// Somebody who sends everything back.
    Echo,
}

impl NetSpec {
    /// The card that a machine has if nobody says otherwise.
    pub fn user() -> Self {
        Self {
            kind: NetKind::User(Policy::default()),
            mac: None,
        }
    }
    /// Whether it is on the stack in this process.
    pub fn is_user(&self) -> bool {
        matches!(self.kind, NetKind::User(_))
    }
    /// Whether what comes from there follows from what is sent, and from nothing else.
    pub fn is_deterministic(&self) -> bool {
        self.kind == NetKind::Echo
    }
    /// Reads what stands behind `--net`; `None` for `none`.
    pub fn parse(text: &str) -> Result<Option<Self>, Failure> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut kind = match kind.split_once(':') {
            None if kind == "none" && text == "none" => return Ok(None),
            None if kind == "user" => NetKind::User(Policy::default()),
            None if kind == "tap" => NetKind::Tap(None),
            None if kind == "echo" => NetKind::Echo,
            // IFNAMSIZ is 16, with the closing NUL.
            Some(("tap", name)) if !name.is_empty() && name.len() < 16 => {
                NetKind::Tap(Some(name.to_string()))
            }
            Some(("tap", name)) => {
                return Err(Failure::usage(format_args!(
                    "'{name}' cannot be the name of a TAP interface: it must have 1 to 15 bytes"
                )));
            }
            _ => {
                return Err(Failure::usage(format_args!(
                    "--net {text} is not known; write user, tap, tap:NAME, echo or none"
                )));
            }
        };
        let mut mac = None;
        for part in parts {
            match (&mut kind, part.split_once('=')) {
                (NetKind::User(policy), None) if part == "isolated" => policy.isolated = true,
                (NetKind::User(policy), None) if part == "host-loopback" => {
                    policy.host_loopback = true;
                }
                (_, Some(("mac", address))) => {
                    mac = Some(parse_mac(address).ok_or_else(|| {
                        Failure::usage(format_args!(
                            "'{address}' cannot be a network card's address; an example is 52:54:00:12:34:56"
                        ))
                    })?);
                }
                (NetKind::User(_), _) => {
                    return Err(Failure::usage(format_args!(
                        "--net user does not know '{part}'; after user come isolated, host-loopback or mac=ADDRESS"
                    )));
                }
                (NetKind::Echo, _) => {
                    return Err(Failure::usage(format_args!(
                        "--net echo does not know '{part}'; after echo comes mac=ADDRESS"
                    )));
                }
                (NetKind::Tap(_), _) => {
                    return Err(Failure::usage(format_args!(
                        "--net tap does not know '{part}'; after the name comes mac=ADDRESS"
                    )));
                }
            }
        }
        Ok(Some(Self { kind, mac }))
    }
}

impl fmt::Display for NetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NetKind::Tap(None) => f.write_str("tap")?,
            NetKind::Echo => f.write_str("echo")?,
            NetKind::Tap(Some(name)) => write!(f, "tap:{name}")?,
            NetKind::User(policy) => {
                f.write_str("user")?;
                if policy.isolated {
                    f.write_str(",isolated")?;
                }
                if policy.host_loopback {
                    f.write_str(",host-loopback")?;
                }
            }
        }
        if let Some([a, b, c, d, e, g]) = self.mac {
            write!(f, ",mac={a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")?;
        }
        Ok(())
    }
}

/// Reads six pairs of hexadecimal digits; a group's address cannot be a card's.
fn parse_mac(text: &str) -> Option<MacAddress> {
    let mut mac = [0; 6];
    let mut bytes = text.split(':');
    for byte in &mut mac {
        let digits = bytes.next()?;
        let is_byte = digits.len() == 2 && digits.bytes().all(|d| d.is_ascii_hexdigit());
        *byte = is_byte.then(|| u8::from_str_radix(digits, 16).ok())??;
    }
    (bytes.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

/// Reads what stands behind `--publish`.
pub fn parse_publish(text: &str) -> Result<Publish, Failure> {
    Publish::parse(text).ok_or_else(|| {
        Failure::usage(format_args!(
            "--publish {text} is not [ADDRESS:]HOSTPORT:GUESTPORT[/udp]; an example is --publish 2222:22"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_described_in_one_word() {
        for text in [
            "user",
            "user,isolated",
            "user,isolated,host-loopback,mac=52:54:00:12:34:56",
            "tap",
            "tap:tap0",
            "tap:tap0,mac=02:00:00:00:00:01",
            "echo",
            "echo,mac=02:00:00:00:00:01",
        ] {
            let spec = NetSpec::parse(text).unwrap().unwrap();
            assert_eq!(spec.to_string(), text, "what is shown can be read");
        }
        assert_eq!(NetSpec::parse("none").unwrap(), None);
        for bad in [
            "",
            "bridge",
            "none,isolated",
            "user:x",
            "user,",
            "user,isolate",
            "user,mac",
            "user,mac=1:2:3:4:5:6",
            "user,mac=01:00:00:00:00:00",
            "user,mac=+2:00:00:00:00:00",
            "user,mac=02:00:00:00:00:00:00",
            "tap:",
            "tap:a-name-that-is-too-long",
            "tap,isolated",
            "echo,isolated",
            "echo:0",
        ] {
            let failure = NetSpec::parse(bad).unwrap_err();
            assert_eq!(failure.status(), 2, "{bad}");
            assert!(!failure.to_string().contains('\n'));
        }
    }
}
