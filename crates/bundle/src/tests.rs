//! What goes into a bundle comes out of it, and nothing else is taken for one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use ringer_hart::GuestPhys;
use ringer_machine::boot::{Image, Part, Placed};
use ringer_machine::memory_map::{RAM_BASE, Span};

use super::*;
use crate::format::{ALIGN, HEADER, Header};

const MEMORY: u64 = 16 << 20;

fn fixed<'a>(segments: &[(u64, &'a [u8], u64)], entry: u64) -> Program<'a> {
    let segment = |&(address, bytes, size)| Segment {
        address,
        bytes,
        size,
    };
    Program {
        placement: Placement::Fixed { entry },
        segments: segments.iter().map(segment).collect(),
    }
}

/// Guests with everything that a bundle can hold.
fn guests(disk: &[u8]) -> Vec<Guest<'_>> {
    let firmware = fixed(
        &[
            (RAM_BASE.0, b"firmware", 0x1000),
            (RAM_BASE.0 + 0x2000, b"", 64),
        ],
        RAM_BASE.0 + 4,
    );
    let first = Guest {
        console: "serial-1",
        harts: 2,
        share: 300,
        command_line: "console=ttyS0 quiet",
        firmware: Some(firmware),
        kernel: Some(Program::movable(b"kernel", 0x3000)),
        initrd: Some(b"initrd"),
        disks: vec![
            Disk::Ram {
                content: disk,
                writable: true,
            },
            Disk::Host {
                disk: 1,
                offset: 1 << 20,
                size: 1 << 30,
                writable: false,
            },
        ],
        ports: vec![
            NetworkPort::default(),
            NetworkPort {
                switch: 3,
                mac: Some(Mac([2, 0, 0, 0, 0, 7])),
                bridged: true,
            },
        ],
        ..Guest::new("first", MEMORY)
    };
    let second = Guest {
        kernel: Some(Program::movable(b"kernel", 0x3000)),
        ..Guest::new("second", MEMORY)
    };
    vec![first, second]
}

fn write(guests: Vec<Guest<'_>>) -> Result<Vec<u8>, BundleError> {
    guests
        .into_iter()
        .fold(Builder::new(), Builder::guest)
        .finish()
}

fn plain<'a>(name: &'a str) -> Guest<'a> {
    Guest {
        kernel: Some(Program::movable(b"kernel", 0)),
        ..Guest::new(name, MEMORY)
    }
}

#[test]
fn what_goes_in_comes_out() {
    let disk = [7; 1024];
    let guests = guests(&disk);
    let bytes = write(guests.clone()).unwrap();
    let bundle = Bundle::parse(&bytes).unwrap();
    assert_eq!(bundle.guests, guests);
    assert_eq!(bundle.len, bytes.len());
    // What a loader adds behind it does not matter.
    let longer = [&bytes[..], &[1; 100]].concat();
    assert_eq!(Bundle::parse(&longer).unwrap().guests, guests);
}

#[test]
fn contents_are_kept_once_and_on_pages() {
    let disk = [7; 1024];
    let bytes = write(guests(&disk)).unwrap();
    let bundle = Bundle::parse(&bytes).unwrap();
    let kernel = |guest: &Guest<'_>| guest.kernel.as_ref().unwrap().segments[0].bytes.as_ptr();
    let (first, second) = (&bundle.guests[0], &bundle.guests[1]);
    assert_eq!(kernel(first), kernel(second));
    for content in [kernel(first), first.initrd.unwrap().as_ptr()] {
        assert_eq!((content as usize - bytes.as_ptr() as usize) % ALIGN, 0);
    }
    // A manifest of one page, firmware, kernel and initial RAM disk of a page each, and the disk.
    assert_eq!(bytes.len(), 4 * ALIGN + disk.len());
}

#[test]
fn a_bundle_that_is_none_is_named() {
    let good = write(vec![plain("one")]).unwrap();
    let say = |bytes: &[u8]| Bundle::parse(bytes).unwrap_err().to_string();
    assert!(say(b"").contains("not a bundle"));
    assert!(say(&[0x7f; 4096]).contains("not a bundle"));
    let mut newer = good.clone();
    newer[8] = 9;
    assert!(say(&newer).contains("has format 9"), "{}", say(&newer));
    let cut = &good[..good.len() - 1];
    assert_eq!(
        say(cut),
        format!(
            "the bundle is truncated: there are {} of its {} bytes",
            cut.len(),
            good.len()
        )
    );
    let mut manifest = good.clone();
    manifest[HEADER + 5] ^= 1;
    assert!(say(&manifest).contains("its manifest has another checksum"));
    let mut blob = good.clone();
    *blob.last_mut().unwrap() ^= 1;
    assert!(say(&blob).contains("blob 0 has another checksum"));
    for bytes in [&b""[..], &newer, cut, &manifest, &blob] {
        assert!(!say(bytes).contains('\n'));
    }
}

/// A bundle whose manifest is these bytes, with a right checksum.
fn with_manifest(manifest: &[u8]) -> Vec<u8> {
    let header = Header {
        manifest_crc: crc32fast::hash(manifest),
        total: (HEADER + manifest.len()) as u64,
        manifest: manifest.len() as u64,
    };
    [&header.to_bytes(), manifest].concat()
}

#[test]
fn guests_that_cannot_be_are_refused_by_name() {
    type Change = fn(&mut Guest<'static>);
    let changes: &[(Change, &str)] = &[
        (|g| g.name = "", "a name has"),
        (|g| g.name = "two words", "a name has"),
        (|g| g.console = "a\nb", "its console's name"),
        (|g| g.memory = 4096, "its memory"),
        (|g| g.memory += 1, "its memory"),
        (|g| g.memory = 1 << 60, "its memory"),
        (|g| g.harts = 0, "harts, not 0"),
        (|g| g.harts = 513, "harts, not 513"),
        (|g| g.share = 0, "share of CPU"),
        (|g| g.command_line = "a\0b", "command line"),
        (|g| g.kernel = None, "nothing to start"),
        (|g| g.initrd = Some(b""), "initial RAM disk has 0 bytes"),
        (
            |g| g.kernel = Some(Program::movable(b"k", MEMORY + 1)),
            "kernel cannot be started",
        ),
        (|g| g.firmware = Some(fixed(&[], 0)), "0 segments"),
        (
            |g| g.firmware = Some(fixed(&[(0, b"four", 3)], 0)),
            "segment 0 has an impossible",
        ),
        (
            |g| g.firmware = Some(fixed(&[(u64::MAX, b"", 2)], 0)),
            "segment 0 has an impossible",
        ),
        (
            |g| g.firmware = Some(fixed(&[(16, b"", 2)], 18)),
            "it starts at 0x12",
        ),
        (
            |g| g.disks = vec![ram_disk(b"odd")],
            "disk 0 must be whole sectors",
        ),
        (
            |g| g.disks = vec![ram_disk(&[0; 512]), host_disk(0, 512, 0)],
            "disk 1 must be",
        ),
        (
            |g| g.disks = vec![host_disk(0, !511, 1024)],
            "disk 0 must be",
        ),
        (
            |g| g.disks = vec![host_disk(64, 0, 512)],
            "on the host's disk 64",
        ),
        (
            |g| g.disks = vec![host_disk(0, 0, 512); 8],
            "8 disks and network cards",
        ),
        (
            |g| g.ports = vec![port(64, None)],
            "network card 0 is at switch 64",
        ),
        (
            |g| g.ports = vec![port(0, Some(Mac([1, 0, 0, 0, 0, 0])))],
            "cannot have the address",
        ),
    ];
    for (number, (change, reason)) in changes.iter().enumerate() {
        let mut guest = plain("one");
        change(&mut guest);
        let error = write(vec![plain("zero"), guest]).unwrap_err().to_string();
        assert!(error.contains(reason), "{number}: {error}");
        assert!(error.starts_with("guest 1"), "{number}: {error}");
        assert!(!error.contains('\n'), "{number}: {error}");
    }
}

fn ram_disk(content: &[u8]) -> Disk<'_> {
    Disk::Ram {
        content,
        writable: false,
    }
}
fn host_disk(disk: u32, offset: u64, size: u64) -> Disk<'static> {
    Disk::Host {
        disk,
        offset,
        size,
        writable: false,
    }
}
fn port(switch: u32, mac: Option<Mac>) -> NetworkPort {
    NetworkPort {
        switch,
        mac,
        bridged: false,
    }
}

#[test]
fn names_and_addresses_are_unique() {
    let other_console = Guest {
        console: "serial",
        ..plain("one")
    };
    let twice = write(vec![plain("one"), other_console.clone()]).unwrap_err();
    assert_eq!(twice, BundleError::SameName("one".into()));
    let taken = Guest {
        console: "one",
        ..plain("two")
    };
    let twice = write(vec![plain("one"), taken]).unwrap_err();
    assert_eq!(twice, BundleError::SameConsole("one".into()));
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let connected = |name| Guest {
        ports: vec![port(0, Some(mac))],
        ..plain(name)
    };
    let twice = write(vec![connected("one"), connected("two")]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "two network cards have the address 02:00:00:00:00:01; give one of them another"
    );
    assert_eq!(write(Vec::new()), Err(BundleError::Guests(0)));
    let names: Vec<String> = (0..65).map(|n| format!("g{n}")).collect();
    let all = |count| names.iter().take(count).map(|name| plain(name)).collect();
    assert_eq!(write(all(65)), Err(BundleError::Guests(65)));
    assert_eq!(
        Bundle::parse(&write(all(64)).unwrap())
            .unwrap()
            .guests
            .len(),
        64
    );
}

#[test]
fn addresses_follow_from_names() {
    let mut guest = plain("one");
    guest.ports = vec![port(0, None), port(0, None), port(0, Some(Mac([6; 6])))];
    let [a, b, c] = [0, 1, 2].map(|number| guest.mac(number).unwrap());
    assert!(a.is_usable() && a != b);
    assert_eq!(c, Mac([6; 6]));
    assert_eq!(guest.mac(3), None);
    guest.name = "two";
    assert_ne!(guest.mac(0), Some(a));
}

#[test]
fn a_reader_checks_guests_too() {
    // What no writer makes: guests that are wrong, under a right checksum.
    let nameless = wire_guest("", None);
    let error = Bundle::parse(&with_manifest(&nameless)).unwrap_err();
    assert!(matches!(
        error,
        BundleError::Guest {
            number: 0,
            why: GuestError::Name,
            ..
        }
    ));
    let blobless = wire_guest("one", Some(5));
    let error = Bundle::parse(&with_manifest(&blobless)).unwrap_err();
    assert!(error.to_string().contains("names a blob that is not there"));
    let good = wire_guest("one", None);
    let error = Bundle::parse(&with_manifest(&good)).unwrap_err();
    assert!(matches!(
        error,
        BundleError::Guest {
            why: GuestError::Nothing,
            ..
        }
    ));
    let trailing = [&good[..], &[0]].concat();
    let error = Bundle::parse(&with_manifest(&trailing)).unwrap_err();
    assert!(error.to_string().contains("cannot be read"));
}

fn wire_guest(name: &str, initrd: Option<u32>) -> Vec<u8> {
    use crate::manifest as wire;
    ringer_hart::persist::encode(&wire::Manifest {
        guests: vec![wire::Guest {
            name,
            console: None,
            memory: MEMORY,
            harts: 1,
            share: 1,
            command_line: "",
            firmware: None,
            kernel: None,
            initrd,
            disks: Vec::new(),
            ports: Vec::new(),
        }],
        blobs: Vec::new(),
    })
}

#[test]
fn programs_are_put_where_they_belong() {
    let len = 0x8000;
    let ram = ringer_hart::Ram::zeroed(RAM_BASE, len).unwrap();
    ram.fill(RAM_BASE, len, 0xff).unwrap();
    let at = |offset: u64| GuestPhys(RAM_BASE.0 + offset);
    let read = |offset, count| {
        let mut bytes = vec![0; count];
        ram.read(at(offset), &mut bytes).map(|()| bytes)
    };
    let program = fixed(
        &[(at(0x10).0, b"head", 6), (at(0x40).0, b"", 2)],
        at(0x12).0,
    );
    let Image::Fixed { span, entry } = program.image() else {
        panic!("it is fixed")
    };
    assert_eq!((span, entry), (Span::new(at(0x10).0, 0x32), at(0x12)));
    program.put(&ram, Placed { span, entry }).unwrap();
    assert_eq!(read(0x10, 8).unwrap(), b"head\0\0\xff\xff");
    assert_eq!(read(0x3f, 4).unwrap(), b"\xff\0\0\xff");

    let program = Program::movable(b"moved", 64);
    assert_eq!(program.image(), Image::Movable(64));
    let place = |offset| Placed {
        span: Span::new(at(offset).0, 64),
        entry: at(offset),
    };
    program.put(&ram, place(0x100)).unwrap();
    assert_eq!(read(0x100, 5).unwrap(), b"moved");
    assert_eq!(program.put(&ram, place(len - 4)), None);
}

/// The contents of a random guest, from which guests borrow.
#[derive(Clone, Debug)]
struct Recipe {
    harts: usize,
    share: u32,
    command_line: String,
    kernel: Vec<u8>,
    segments: Vec<(u64, Vec<u8>, u64)>,
    initrd: Option<Vec<u8>>,
    disks: Vec<(Vec<u8>, bool)>,
    ports: Vec<(u32, bool)>,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let bytes = |len| proptest::collection::vec(any::<u8>(), len);
    let segment = (0..1_u64 << 20, bytes(0..50), 1..5000_u64);
    let disk = (1..4_u8, any::<u8>(), any::<bool>())
        .prop_map(|(sectors, fill, writable)| (vec![fill; usize::from(sectors) * 512], writable));
    (
        (1..=512_usize, 1..=MAX_SHARE, "[a-z =/]{0,40}"),
        bytes(1..9000),
        proptest::collection::vec(segment, 0..4),
        proptest::option::of(bytes(1..5000)),
        proptest::collection::vec(disk, 0..3),
        proptest::collection::vec((0..MAX_SWITCHES, any::<bool>()), 0..4),
    )
        .prop_map(|(shape, kernel, segments, initrd, disks, ports)| Recipe {
            harts: shape.0,
            share: shape.1,
            command_line: shape.2,
            kernel,
            segments,
            initrd,
            disks,
            ports,
        })
}

impl Recipe {
    fn guest<'a>(&'a self, name: &'a str) -> Guest<'a> {
        let segments: Vec<Segment<'_>> = (self.segments.iter())
            .map(|(offset, bytes, rest)| Segment {
                address: RAM_BASE.0 + offset,
                bytes,
                size: bytes.len() as u64 + rest,
            })
            .collect();
        let firmware = segments.first().map(|first| Program {
            placement: Placement::Fixed {
                entry: first.address,
            },
            segments: segments.clone(),
        });
        Guest {
            harts: self.harts,
            share: self.share,
            command_line: &self.command_line,
            firmware,
            kernel: Some(Program::movable(&self.kernel, 20_000)),
            initrd: self.initrd.as_deref(),
            disks: (self.disks.iter())
                .map(|(content, writable)| Disk::Ram {
                    content,
                    writable: *writable,
                })
                .collect(),
            ports: (self.ports.iter())
                .map(|&(switch, bridged)| NetworkPort {
                    switch,
                    mac: None,
                    bridged,
                })
                .collect(),
            ..Guest::new(name, MEMORY)
        }
    }
}

proptest! {
    #[test]
    fn any_guests_come_back(recipes in proptest::collection::vec(recipe(), 1..4)) {
        let names: Vec<String> = (0..recipes.len()).map(|n| format!("guest-{n}")).collect();
        let guests: Vec<_> = recipes.iter().zip(&names).map(|(r, n)| r.guest(n)).collect();
        let bytes = write(guests.clone()).unwrap();
        prop_assert_eq!(Bundle::parse(&bytes).unwrap().guests, guests);
    }

    /// CRC-32 finds every single flipped bit, and what lies between blobs has to be zero.
    #[test]
    fn every_flipped_bit_is_noticed(recipe in recipe(), place in any::<prop::sample::Index>()) {
        let mut bytes = write(vec![recipe.guest("one")]).unwrap();
        let bit = place.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Bundle::parse(&bytes).is_err(), "bit {}", bit);
    }

    #[test]
    fn every_cut_is_noticed(recipe in recipe(), place in any::<prop::sample::Index>()) {
        let bytes = write(vec![recipe.guest("one")]).unwrap();
        let cut = &bytes[..place.index(bytes.len())];
        let error = Bundle::parse(cut).unwrap_err();
        let expected = matches!(error, BundleError::Truncated { .. } | BundleError::NotABundle);
        prop_assert!(expected, "{}", error);
    }

    #[test]
    fn any_manifest_is_harmless(manifest in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Bundle::parse(&with_manifest(&manifest)).is_err());
    }

    /// Damage under a right checksum, as somebody might make it on purpose.
    #[test]
    fn a_forged_manifest_is_harmless(
        recipe in recipe(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = write(vec![recipe.guest("one")]).unwrap();
        let header = Header::from_bytes(&bytes).unwrap();
        let end = HEADER + header.manifest as usize;
        for (place, value) in changes {
            bytes[HEADER + place.index(end - HEADER)] = value;
        }
        let manifest_crc = crc32fast::hash(&bytes[HEADER..end]);
        bytes[..HEADER].copy_from_slice(&Header { manifest_crc, ..header }.to_bytes());
        if let Ok(bundle) = Bundle::parse(&bytes) {
            for guest in bundle.guests {
                prop_assert_eq!(guest.check(), Ok(()));
            }
        }
    }
}

#[test]
fn errors_name_the_part() {
    let why = ProgramError::Entry(16);
    let part = Part::Kernel;
    let error = BundleError::Guest {
        number: 2,
        name: "mail".into(),
        why: GuestError::Program { part, why },
    };
    assert_eq!(
        error.to_string(),
        "guest 2, mail: its kernel cannot be started: it starts at 0x10, where none of its segments is"
    );
}
