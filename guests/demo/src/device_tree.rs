//! A reader of the flattened device tree (version 17) that the firmware hands over in a1.

/// The whole tree.
#[derive(Clone, Copy)]
pub struct DeviceTree {
    structure: &'static [u8],
    strings: &'static [u8],
    size: usize,
}

/// A node, positioned behind its name.
#[derive(Clone, Copy)]
pub struct Node {
    tree: DeviceTree,
    /// The node's name with its unit address.
    pub name: &'static str,
    body: usize,
}

enum Token {
    Begin(&'static str),
    End,
    Property(&'static str, &'static [u8]),
    Finished,
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().ok()?) as usize)
}

fn text(bytes: &'static [u8], at: usize) -> &'static str {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
    core::str::from_utf8(&rest[..end]).unwrap_or("?")
}

impl DeviceTree {
    /// Reads the header at `address`.
    ///
    /// # Safety
    /// `address` must be what the firmware passed in a1, left untouched since.
    pub unsafe fn at(address: usize) -> Option<DeviceTree> {
        if address == 0 {
            return None;
        }
        // SAFETY: the caller vouches for a header at least.
        let header = unsafe { core::slice::from_raw_parts(address as *const u8, 40) };
        if word(header, 0)? != 0xd00d_feed {
            return None;
        }
        let size = word(header, 4)?;
        // SAFETY: the header says how long the tree is.
        let all: &'static [u8] = unsafe { core::slice::from_raw_parts(address as *const u8, size) };
        Some(DeviceTree {
            structure: all.get(word(all, 8)?..)?,
            strings: all.get(word(all, 12)?..)?,
            size,
        })
    }

    /// The tree's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    fn token(&self, at: usize) -> (Token, usize) {
        match word(self.structure, at) {
            Some(1) => {
                let name = text(self.structure, at + 4);
                (
                    Token::Begin(name),
                    (at + 4 + name.len() + 1).next_multiple_of(4),
                )
            }
            Some(2) => (Token::End, at + 4),
            Some(3) => {
                let length = word(self.structure, at + 4).unwrap_or(0);
                let name = text(self.strings, word(self.structure, at + 8).unwrap_or(0));
                let value = self.structure.get(at + 12..at + 12 + length).unwrap_or(&[]);
                (
                    Token::Property(name, value),
                    (at + 12 + length).next_multiple_of(4),
                )
            }
            Some(4) => self.token(at + 4),
            _ => (Token::Finished, at),
        }
    }

    /// All nodes, parents before children.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let mut at = 0;
        core::iter::from_fn(move || {
            loop {
                let (token, next) = self.token(at);
                match token {
                    Token::Begin(name) => {
                        at = next;
                        return Some(Node {
                            tree: self,
                            name,
                            body: next,
                        });
                    }
                    Token::End | Token::Property(..) => {}
                    Token::Finished => return None,
                }
                at = next;
            }
        })
    }

    /// The nodes that are compatible with `device`.
    pub fn compatible(self, device: &'static str) -> impl Iterator<Item = Node> {
        self.nodes().filter(move |n| {
            n.property("compatible")
                .is_some_and(|list| list.split(|&b| b == 0).any(|c| c == device.as_bytes()))
        })
    }

    /// The first node whose name starts with `prefix`.
    pub fn named(self, prefix: &str) -> Option<Node> {
        self.nodes().find(|n| n.name.starts_with(prefix))
    }
}

impl Node {
    /// A property's bytes.
    pub fn property(&self, wanted: &str) -> Option<&'static [u8]> {
        let mut at = self.body;
        loop {
            match self.tree.token(at) {
                (Token::Property(name, value), _) if name == wanted => return Some(value),
                (Token::Property(..), next) => at = next,
                _ => return None,
            }
        }
    }

    /// A property's first string.
    pub fn string(&self, wanted: &str) -> Option<&'static str> {
        self.property(wanted).map(|value| text(value, 0))
    }

    /// A property's first 32-bit cell.
    pub fn cell(&self, wanted: &str) -> Option<usize> {
        word(self.property(wanted)?, 0)
    }

    /// The first (address, size) of `reg`, in the two-cell form that buses on this board use.
    pub fn reg(&self) -> Option<(usize, usize)> {
        let reg = self.property("reg")?;
        let pair = |at| Some(word(reg, at)? << 32 | word(reg, at + 4)?);
        Some((pair(0)?, pair(8)?))
    }
}
