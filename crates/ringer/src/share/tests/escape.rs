//! Ways out of the share that must not exist.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;

use super::*;

const SECRET: &str = "nobody's business";

/// A share beside which there is a secret, with links that lead to it.
fn beside_a_secret() -> Guest {
    Guest::with(|root| {
        let outside = root.parent().unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        fs::create_dir_all(root.join("inside/deep")).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        symlink("../../outside/secret", root.join("inside/file")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("inside", root.join("harmless")).unwrap();
    })
}

#[test]
fn two_dots_at_the_root_stay_there() {
    let mut guest = beside_a_secret();
    let root = fs::metadata(guest.host("")).unwrap();
    let up = ["..", "..", "..", ".."];
    let fields = body().u32(ROOT).u32(1).u16(4);
    let fields = up.iter().fold(fields, |fields, name| fields.string(name));
    let answer = guest.call(kind::WALK, fields).unwrap();
    let mut answer = Answer(&answer);
    assert_eq!(answer.number(2), 4);
    for _ in up {
        answer.bytes(5);
        assert_eq!(answer.number(8), std::os::unix::fs::MetadataExt::ino(&root));
    }
    assert_eq!(guest.walk(ROOT, 2, &["..", "outside"]), Ok(1));
    assert_eq!(
        guest.walk(ROOT, 2, &["inside", "deep", "..", "..", "..", "inside"]),
        Ok(6)
    );
    assert_eq!(guest.walk(2, 3, &["..", "..", "outside", "secret"]), Ok(2));
}

#[test]
fn names_lead_nowhere_else() {
    let mut guest = beside_a_secret();
    guest.find(1, "inside/deep").unwrap();
    for name in [
        "",
        ".",
        "a/b",
        "/etc",
        "../outside",
        "inside/deep",
        "nul\0",
        "/",
    ] {
        assert_eq!(guest.walk(ROOT, 9, &[name]), Err(Errno::INVAL), "{name:?}");
    }
    for name in ["", ".", "..", "../x", "/tmp/x", "x/y", "x\0y"] {
        let refused = Err(Errno::INVAL);
        assert_eq!(guest.create(1, name, WRITE, 0o644), refused, "{name:?}");
        assert_eq!(guest.make_folder(1, name, 0o755), refused);
        assert_eq!(guest.make_node(1, name, 0o100_644), refused);
        assert_eq!(guest.symlink(1, name, "x"), refused);
        assert_eq!(guest.link(1, 1, name), refused);
        assert_eq!(guest.rename(1, ROOT, name), refused);
        assert_eq!(guest.rename_at(ROOT, name, 1, "x"), refused);
        assert_eq!(guest.rename_at(ROOT, "inside", 1, name), refused);
        assert_eq!(guest.unlink(1, name, 0), refused);
        assert_eq!(guest.unlink(1, name, REMOVE_FOLDER), refused);
    }
    for tree in ["/etc", "..", "inside", "/inside"] {
        let fields = body()
            .u32(50)
            .u32(u32::MAX)
            .string("root")
            .string(tree)
            .u32(0);
        assert_eq!(guest.call(kind::ATTACH, fields), Err(Errno::NOENT));
    }
}

#[test]
fn symbolic_links_are_read_and_not_followed() {
    let mut guest = beside_a_secret();
    for name in ["absolute", "relative", "magic", "harmless"] {
        // The link itself, but nothing behind it.
        assert_eq!(guest.walk(ROOT, 1, &[name]), Ok(1));
        assert_eq!(guest.attributes(1).unwrap().0 & 0o170_000, 0o120_000);
        assert_eq!(guest.walk(1, 2, &["secret"]), Err(Errno::NOTDIR));
        assert_eq!(guest.walk(ROOT, 2, &[name, "secret"]), Ok(1));
        assert_eq!(guest.open(1, READ), Err(Errno::LOOP));
        assert_eq!(guest.create(1, "new", WRITE, 0o644), Err(Errno::NOTDIR));
        assert_eq!(guest.make_folder(1, "new", 0o755), Err(Errno::NOTDIR));
        assert_eq!(guest.unlink(1, "secret", 0), Err(Errno::NOTDIR));
        assert_eq!(
            guest.rename_at(1, "secret", ROOT, "secret"),
            Err(Errno::NOTDIR)
        );
        assert!(guest.set(1, 1, 0o777, 0).is_err());
        assert_eq!(guest.set(1, 8, 0, 0), Err(Errno::LOOP));
        guest.clunk(1).unwrap();
    }
    // A link where a file is to be made or replaced.
    guest.find(1, "inside").unwrap();
    assert_eq!(
        guest.create(1, "file", WRITE | TRUNCATE, 0o644),
        Err(Errno::LOOP)
    );
    assert_eq!(
        guest.create(1, "file", WRITE | EXCLUSIVE, 0o644),
        Err(Errno::EXIST)
    );
    guest.find(2, "inside/file").unwrap();
    guest.set(2, 0x20 | 0x100, 0, 0).unwrap();
    let outside = guest.dir.path().join("outside");
    let secret = outside.join("secret");
    assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
    let time = std::os::unix::fs::MetadataExt::mtime(&fs::metadata(&secret).unwrap());
    assert_ne!(time, 1_000_000_000, "the link's time was to be set");
    // The guest's own links lead as little out as the host's.
    guest
        .symlink(ROOT, "own", outside.to_str().unwrap())
        .unwrap();
    assert_eq!(guest.walk(ROOT, 3, &["own", "secret"]), Ok(1));
    guest.unlink(ROOT, "own", 0).unwrap();
    assert!(secret.exists());
}

#[test]
fn specials_are_not_opened() {
    let mut guest = Guest::with(|root| {
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, root.join("fifo"), fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    });
    for (fid, name) in [(1, "fifo"), (2, "socket")] {
        guest.find(fid, name).unwrap();
        for flags in [READ, WRITE, READ_WRITE] {
            assert_eq!(guest.open(fid, flags), Err(Errno::NXIO));
        }
        assert_eq!(guest.set(fid, 8, 0, 0), Err(Errno::NXIO));
        guest.walk(ROOT, 100 + fid, &[]).unwrap();
        assert_eq!(
            guest.create(100 + fid, name, READ_WRITE, 0o644),
            Err(Errno::NXIO)
        );
    }
}

#[test]
fn a_folder_swapped_for_a_link_in_between_leads_nowhere() {
    let mut guest = beside_a_secret();
    fs::write(guest.host("inside/secret"), "harmless").unwrap();
    let stop = AtomicBool::new(false);
    let (inside, absolute) = (guest.host("inside"), guest.host("absolute"));
    let (mut reached, mut missed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Whoever looks finds the folder, or the link to outside, under the same name.
            while !stop.load(Ordering::Relaxed) {
                let exchange = RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &inside, CWD, &absolute, exchange).unwrap();
            }
        });
        // Until both have been met often, whatever the scheduler does.
        while reached < 500 || missed < 500 {
            match guest.content("inside/secret") {
                Ok(content) => {
                    assert_eq!(content, b"harmless");
                    reached += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Errno::NOENT | Errno::NOTDIR), "{error}");
                    missed += 1;
                }
            }
            if guest.find(1, "inside").is_ok() {
                // It may be the link, in which nothing can be made.
                let made = guest.make_folder(1, "made", 0o755);
                let removed = guest.unlink(1, "made", REMOVE_FOLDER);
                assert_eq!(made.is_ok(), removed.is_ok());
                let up = guest.walk(1, 2, &["..", "outside"]);
                assert_ne!(up, Ok(2));
                let _ = guest.clunk(2);
                guest.clunk(1).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let outside = fs::read_dir(guest.dir.path().join("outside")).unwrap();
    assert_eq!(outside.count(), 1);
}

#[test]
fn a_folder_moved_out_by_the_host_has_no_way_up() {
    let mut guest = beside_a_secret();
    guest.find(1, "inside/deep").unwrap();
    let moved = guest.dir.path().join("outside/deep");
    fs::rename(guest.host("inside/deep"), moved).unwrap();
    assert_eq!(guest.walk(1, 2, &[".."]), Err(Errno::STALE));
    assert_eq!(guest.walk(1, 2, &["..", "secret"]), Err(Errno::STALE));
    assert_eq!(guest.rename(1, ROOT, "back"), Err(Errno::STALE));
}
