//! Saved and resumed, here or with another folder; and fids beyond the number of descriptors.

use std::fs;

use rustix::io::Errno;

use super::*;

/// The guest with a server as after a restore, on the folder `share` in the guest's directory.
fn resume(guest: &mut Guest, share: &str, read_only: bool) {
    let saved = guest.server.save();
    let folder = Folder::open(&guest.dir.path().join(share), read_only).unwrap();
    guest.server = Server::new(folder, 1000);
    guest.server.restore(&saved).unwrap();
}

fn prepare(root: &Path) {
    fs::create_dir_all(root.join("d/e")).unwrap();
    for name in ["a", "d/b", "d/e/c", "gone (deleted)"] {
        fs::write(root.join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("a", root.join("link")).unwrap();
}

/// Fids of all sorts: 1 a folder, 2 to read, 3 to write, 4 listed, 5 a link, 6 renamed.
fn take_fids(guest: &mut Guest) {
    guest.find(1, "d/e").unwrap();
    guest.find(2, "a").unwrap();
    guest.open(2, READ).unwrap();
    guest.find(3, "d/b").unwrap();
    guest.open(3, READ_WRITE).unwrap();
    guest.find(4, "d").unwrap();
    guest.open(4, READ).unwrap();
    guest.find(5, "link").unwrap();
    guest.find(6, "d/e/c").unwrap();
    guest.rename_at(1, "c", 1, "renamed").unwrap();
    guest.find(7, "gone (deleted)").unwrap();
}

fn use_fids(guest: &mut Guest) {
    assert_eq!(guest.walk(1, 20, &["renamed"]), Ok(1));
    assert_eq!(guest.read(2, 0, 9).unwrap(), b"a");
    assert_eq!(guest.write(2, 0, b"x"), Err(Errno::BADF));
    assert_eq!(guest.write(3, 3, b"!").unwrap(), 1);
    assert_eq!(guest.read(3, 0, 9).unwrap(), b"d/b!");
    let names = guest.list(4, 0, 4096).unwrap();
    assert!(names.iter().any(|entry| entry.name == "e"));
    assert!(guest.call(kind::READLINK, body().u32(5)).is_ok());
    guest.open(6, READ).unwrap();
    assert_eq!(guest.read(6, 0, 9).unwrap(), b"d/e/c");
    assert!(guest.attributes(7).is_ok());
    assert_eq!(guest.clunk(8), Err(Errno::BADF));
}

#[test]
fn fids_survive() {
    let mut guest = Guest::with(prepare);
    take_fids(&mut guest);
    resume(&mut guest, "share", false);
    // Saved once more before anything was used.
    resume(&mut guest, "share", false);
    use_fids(&mut guest);
}

#[test]
fn a_clone_goes_on_in_another_folder() {
    let mut guest = Guest::with(prepare);
    take_fids(&mut guest);
    let other = guest.dir.path().join("other");
    prepare(&other);
    fs::rename(other.join("d/e/c"), other.join("d/e/renamed")).unwrap();
    fs::write(other.join("a"), "other").unwrap();
    resume(&mut guest, "other", false);
    assert_eq!(guest.read(2, 0, 9).unwrap(), b"other");
    assert_eq!(guest.walk(1, 20, &["renamed"]), Ok(1));
    assert_eq!(guest.write(3, 3, b"!").unwrap(), 1);
    assert_eq!(guest.text("d/b"), "d/b");
    assert_eq!(fs::read_to_string(other.join("d/b")).unwrap(), "d/b!");
}

#[test]
fn what_is_gone_is_stale() {
    let mut guest = Guest::with(prepare);
    take_fids(&mut guest);
    guest.find(8, "a").unwrap();
    guest.open(8, READ).unwrap();
    guest.unlink(ROOT, "a", 0).unwrap();
    fs::remove_file(guest.host("gone (deleted)")).unwrap();
    let saved = guest.server.save();
    // A file where a folder was, and a link where a file was.
    fs::remove_dir_all(guest.host("d")).unwrap();
    fs::write(guest.host("d"), "").unwrap();
    fs::remove_file(guest.host("link")).unwrap();
    fs::write(guest.host("link"), "").unwrap();
    guest.server.restore(&saved).unwrap();
    for fid in 1..=8 {
        assert_eq!(guest.attributes(fid), Err(Errno::STALE), "{fid}");
        assert_eq!(guest.read(fid, 0, 1), Err(Errno::STALE));
        guest.clunk(fid).unwrap();
    }
    assert!(guest.attributes(ROOT).is_ok());
}

#[test]
fn what_a_read_only_share_would_not_have_opened_is_lost() {
    let mut guest = Guest::with(prepare);
    take_fids(&mut guest);
    resume(&mut guest, "share", true);
    assert_eq!(guest.read(2, 0, 9).unwrap(), b"a");
    assert_eq!(guest.write(3, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(guest.read(3, 0, 9), Err(Errno::STALE));
    assert_eq!(guest.text("d/b"), "d/b");
}

#[test]
fn forged_states_reach_nothing_outside() {
    let mut guest = Guest::with(prepare);
    fs::write(guest.dir.path().join("secret"), "s").unwrap();
    guest.find(1, "a").unwrap();
    guest.find(2, "d/b").unwrap();
    let saved = guest.server.save();
    // The path `a` becomes a link, `d/b` leads up: as long as they were.
    std::os::unix::fs::symlink("../secret", guest.host("s")).unwrap();
    for (from, to) in [(&b"\x41a"[..], &b"\x41s"[..]), (b"\x43d/b", b"\x43/..")] {
        let at = saved
            .windows(from.len())
            .position(|bytes| bytes == from)
            .unwrap();
        let mut forged = saved.clone();
        forged[at..at + to.len()].copy_from_slice(to);
        guest.server.restore(&forged).unwrap();
        let forged_fid = if to.contains(&b's') { 1 } else { 2 };
        assert_eq!(guest.attributes(forged_fid), Err(Errno::STALE));
        guest.server.restore(&saved).unwrap();
        assert!(guest.attributes(forged_fid).is_ok());
    }
    assert!(guest.server.restore(b"").is_err());
    assert!(guest.server.restore(&saved[..saved.len() - 1]).is_err());
    assert!(
        guest.attributes(1).is_ok(),
        "a state that is refused changes nothing"
    );
}

#[test]
fn more_fids_than_descriptors() {
    const FILES: u32 = 300;
    let mut guest = Guest::mount(
        |root| {
            for number in 0..FILES {
                fs::write(root.join(number.to_string()), number.to_string()).unwrap();
            }
        },
        false,
        50,
    );
    for number in 0..FILES {
        guest.find(1 + number, &number.to_string()).unwrap();
        assert!(guest.server.fids().held() <= 50);
    }
    // A file that takes a parked one's name is not the parked one.
    fs::rename(guest.host("7"), guest.host("5")).unwrap();
    assert_eq!(guest.attributes(1 + 5), Err(Errno::STALE));
    assert_eq!(guest.attributes(1 + 7), Err(Errno::STALE));
    for number in (0..FILES).rev().filter(|number| ![5, 7].contains(number)) {
        guest.walk(1 + number, 1000, &[]).unwrap();
        guest.open(1000, READ).unwrap();
        assert_eq!(
            guest.read(1000, 0, 9).unwrap(),
            number.to_string().as_bytes()
        );
        guest.clunk(1000).unwrap();
    }
    // Open files keep their descriptors, so of them there are only so many.
    let mut opened = 0;
    let refused = loop {
        match guest.open(1 + 100 + opened, READ) {
            Ok(()) => opened += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Errno::MFILE);
    assert!((40..=50).contains(&opened), "{opened}");
    guest.clunk(1 + 100).unwrap();
    guest.open(1 + 100 + opened, READ).unwrap();
    resume(&mut guest, "share", false);
    assert_eq!(guest.read(1 + 101, 0, 9).unwrap(), b"101");
    assert!(guest.attributes(1).is_ok());
}
