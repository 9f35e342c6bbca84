//! What guests do with files every day.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::io::Errno;

use super::*;

#[test]
fn files_are_made_written_read_and_removed() {
    let mut guest = Guest::new();
    guest.walk(ROOT, 1, &[]).unwrap();
    guest
        .create(1, "new", READ_WRITE | EXCLUSIVE, 0o640)
        .unwrap();
    assert_eq!(guest.write(1, 0, b"hello").unwrap(), 5);
    assert_eq!(guest.write(1, 7, b"hole").unwrap(), 4);
    assert_eq!(guest.read(1, 3, 100).unwrap(), b"lo\0\0hole");
    assert_eq!(guest.read(1, 11, 100).unwrap(), b"");
    assert_eq!(guest.text("new"), "hello\0\0hole");
    assert_eq!(guest.attributes(1).unwrap(), (0o100_640, 1, 11));
    for data_only in [0, 1] {
        guest
            .call(kind::FSYNC, body().u32(1).u32(data_only))
            .unwrap();
    }
    guest.clunk(1).unwrap();
    assert_eq!(guest.clunk(1), Err(Errno::BADF));

    guest.find(2, "new").unwrap();
    // Not opened yet, opened to read, opened to write.
    assert_eq!(guest.read(2, 0, 1), Err(Errno::BADF));
    guest.open(2, READ).unwrap();
    assert_eq!(guest.write(2, 0, b"x"), Err(Errno::BADF));
    assert_eq!(guest.open(2, READ), Err(Errno::BADF));
    guest.find(3, "new").unwrap();
    guest.open(3, WRITE | TRUNCATE).unwrap();
    assert_eq!(guest.read(3, 0, 1), Err(Errno::BADF));
    assert_eq!(guest.text("new"), "");

    guest.unlink(ROOT, "new", 0).unwrap();
    assert!(!guest.host("new").exists());
    // Who has it open goes on.
    assert_eq!(guest.write(3, 0, b"still").unwrap(), 5);
    assert_eq!(guest.read(2, 0, 9).unwrap(), b"still");
    assert_eq!(guest.attributes(2).unwrap().1, 0);
}

#[test]
fn creating_what_is_there_opens_it_unless_that_is_an_error() {
    let mut guest = Guest::with(|root| fs::write(root.join("there"), "content").unwrap());
    guest.walk(ROOT, 1, &[]).unwrap();
    assert_eq!(
        guest.create(1, "there", WRITE | EXCLUSIVE, 0o600),
        Err(Errno::EXIST)
    );
    guest.create(1, "there", READ_WRITE, 0o600).unwrap();
    assert_eq!(guest.read(1, 0, 99).unwrap(), b"content");
    guest.walk(ROOT, 2, &[]).unwrap();
    guest
        .create(2, "there", READ_WRITE | TRUNCATE, 0o600)
        .unwrap();
    assert_eq!(guest.text("there"), "");
}

#[test]
fn modes_are_kept_but_for_those_that_give_rights_away() {
    let mut guest = Guest::new();
    for (number, (asked, kept)) in (0_u32..).zip([
        (0o666, 0o666),
        (0o777, 0o777),
        (0o400, 0o400),
        (0o1644, 0o1644),
        (0o6755, 0o755),
    ]) {
        let name = format!("file{number}");
        guest.walk(ROOT, 100 + number, &[]).unwrap();
        guest.create(100 + number, &name, WRITE, asked).unwrap();
        // Written although nobody may open it so any more.
        guest.write(100 + number, 0, b"x").unwrap();
        assert_eq!(
            fs::metadata(guest.host(&name)).unwrap().mode(),
            0o100_000 | kept
        );
        guest.find(200 + number, &name).unwrap();
        guest.set(200 + number, 1, asked, 0).unwrap();
        assert_eq!(guest.attributes(200 + number).unwrap().0, 0o100_000 | kept);
        guest
            .make_folder(ROOT, &format!("folder{number}"), asked)
            .unwrap();
        let folder = fs::metadata(guest.host(&format!("folder{number}"))).unwrap();
        assert_eq!(folder.mode() & 0o1777, asked & 0o1777);
        guest
            .make_node(ROOT, &format!("node{number}"), 0o100_000 | asked)
            .unwrap();
        let node = fs::metadata(guest.host(&format!("node{number}"))).unwrap();
        assert_eq!(node.mode(), 0o100_000 | kept);
    }
    // Whoever the guest says that it belongs to: it is the one who runs the monitor.
    guest.set(200, 2 | 4, 0, 0).unwrap();
    let owner = fs::metadata(guest.host("file0")).unwrap().uid();
    assert_eq!(owner, rustix::process::getuid().as_raw());
}

#[test]
fn sizes_and_times_are_set() {
    let mut guest = Guest::with(|root| fs::write(root.join("a"), "0123456789").unwrap());
    guest.find(1, "a").unwrap();
    guest.set(1, 8, 0, 4).unwrap();
    assert_eq!(guest.text("a"), "0123");
    // Both times as given; then the later one to now.
    guest.set(1, 0x10 | 0x20 | 0x80 | 0x100, 0, 0).unwrap();
    let file = fs::metadata(guest.host("a")).unwrap();
    assert_eq!(
        (file.atime(), file.atime_nsec(), file.mtime()),
        (7, 8, 1_000_000_000)
    );
    guest.set(1, 0x20, 0, 0).unwrap();
    let file = fs::metadata(guest.host("a")).unwrap();
    assert!(file.atime() == 7 && file.mtime() > 1_600_000_000);
    guest.open(1, READ_WRITE).unwrap();
    guest.set(1, 8, 0, 2).unwrap();
    assert_eq!(guest.text("a"), "01");
}

#[test]
fn folders_are_listed_piece_by_piece() {
    let mut guest = Guest::with(|root| {
        for number in 0..300 {
            fs::write(root.join(format!("file-{number:03}")), "").unwrap();
        }
        fs::create_dir(root.join("sub")).unwrap();
        std::os::unix::fs::symlink("sub", root.join("link")).unwrap();
    });
    guest.walk(ROOT, 1, &[]).unwrap();
    assert_eq!(guest.list(1, 0, 1000), Err(Errno::BADF));
    guest.open(1, READ).unwrap();
    let all = guest.list(1, 0, 1 << 19).unwrap();
    assert_eq!(all.len(), 304);
    assert_eq!(
        guest.list(1, all.last().unwrap().cookie, 1 << 19).unwrap(),
        []
    );
    for room in [200, 1000, 4096] {
        let mut pieces = Vec::new();
        loop {
            let offset = pieces.last().map_or(0, |entry: &Entry| entry.cookie);
            let more = guest.list(1, offset, room).unwrap();
            if more.is_empty() {
                break;
            }
            pieces.extend(more);
        }
        assert_eq!(pieces, all, "{room} bytes at a time");
    }
    // Entries and attributes agree on what a file is.
    let kind_of = |name: &str| all.iter().find(|entry| entry.name == name).unwrap().kind;
    assert_eq!(
        (kind_of("sub"), kind_of("link"), kind_of("file-000")),
        (4, 10, 8)
    );
    let inode = fs::metadata(guest.host("sub")).unwrap().ino();
    assert!(
        all.iter()
            .any(|entry| entry.name == "sub" && entry.path == inode)
    );
    // Not the folder above, of which the guest knows nothing.
    let own = fs::metadata(guest.host("")).unwrap().ino();
    for name in [".", ".."] {
        assert!(
            all.iter()
                .any(|entry| entry.name == name && entry.path == own)
        );
    }
    // No room for a single entry is not the end of the folder.
    assert_eq!(guest.list(1, 0, 10), Err(Errno::INVAL));
}

#[test]
fn links_and_moves() {
    let mut guest = Guest::with(|root| {
        fs::create_dir(root.join("from")).unwrap();
        fs::create_dir(root.join("to")).unwrap();
        fs::write(root.join("from/a"), "a").unwrap();
    });
    guest.find(1, "from").unwrap();
    guest.find(2, "to").unwrap();
    guest.find(3, "from/a").unwrap();
    guest.rename_at(1, "a", 2, "b").unwrap();
    assert_eq!(guest.text("to/b"), "a");
    // The fid is the file's, not the name's.
    guest.link(1, 3, "again").unwrap();
    assert_eq!(guest.text("from/again"), "a");
    assert_eq!(guest.attributes(3).unwrap().1, 2);
    // The folder moves below the fids, and by its own fid.
    guest.rename_at(ROOT, "to", 1, "inner").unwrap();
    assert_eq!(guest.content("from/inner/b").unwrap(), b"a");
    guest.rename(2, ROOT, "outer").unwrap();
    assert_eq!(guest.content("outer/b").unwrap(), b"a");
    assert_eq!(guest.rename(ROOT, 2, "root"), Err(Errno::BUSY));

    guest.symlink(2, "pointer", "../from/again").unwrap();
    guest.find(4, "outer/pointer").unwrap();
    let target = guest.call(kind::READLINK, body().u32(4)).unwrap();
    assert_eq!(Answer(&target).string(), "../from/again");
    guest.link(ROOT, 4, "second-pointer").unwrap();
    assert!(guest.host("second-pointer").is_symlink());

    assert_eq!(
        guest.unlink(ROOT, "outer", REMOVE_FOLDER),
        Err(Errno::NOTEMPTY)
    );
    guest.remove(4).unwrap();
    assert!(!guest.host("outer/pointer").is_symlink());
    assert_eq!(guest.clunk(4), Err(Errno::BADF));
    guest.unlink(2, "b", 0).unwrap();
    guest.remove(2).unwrap();
    assert!(!guest.host("outer").exists());
    assert_eq!(guest.remove(ROOT), Err(Errno::BUSY));
}

#[test]
fn a_walk_says_how_far_it_came() {
    let mut guest = Guest::with(|root| fs::create_dir_all(root.join("a/b")).unwrap());
    assert_eq!(guest.walk(ROOT, 1, &["a", "b", "c"]), Ok(2));
    assert_eq!(guest.clunk(1), Err(Errno::BADF));
    assert_eq!(guest.walk(ROOT, 1, &["x", "b"]), Err(Errno::NOENT));
    assert_eq!(guest.walk(ROOT, 1, &["a", "b"]), Ok(2));
    // The same fid again is moved, another that is in use is refused.
    assert_eq!(guest.walk(1, ROOT, &[]), Err(Errno::BADF));
    assert_eq!(guest.walk(1, 1, &[".."]), Ok(1));
    assert_eq!(guest.walk(1, 2, &["b"]), Ok(1));
    assert_eq!(guest.walk(9, 3, &[]), Err(Errno::BADF));
    assert_eq!(guest.walk(ROOT, 3, &["a"; 17]), Err(Errno::INVAL));
}

#[test]
fn what_is_not_offered_says_so() {
    let mut guest = Guest::new();
    let fields = body().u32(ROOT).u32(5).string("security.selinux");
    assert_eq!(guest.call(kind::XATTRWALK, fields), Err(Errno::OPNOTSUPP));
    assert_eq!(guest.call(200, body()), Err(Errno::OPNOTSUPP));
    for special in [0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        assert_eq!(guest.make_node(ROOT, "special", special), Err(Errno::PERM));
    }
    assert!(!guest.host("special").exists());
    // Locks are granted: the guest's kernel has seen to conflicts.
    let range = |fields: Body| fields.u64(0).u64(0).u32(1).string("guest");
    let lock = guest.call(kind::LOCK, range(body().u32(ROOT).u8(1).u32(0)));
    assert_eq!(lock.unwrap(), [0]);
    let held = guest
        .call(kind::GETLOCK, range(body().u32(ROOT).u8(1)))
        .unwrap();
    assert_eq!(held.first(), Some(&2));
    let statfs = guest.call(kind::STATFS, body().u32(ROOT)).unwrap();
    assert_eq!(statfs.len(), 60);
}

#[test]
fn a_read_only_share_stays_as_it_is() {
    let mut guest = Guest::read_only(|root| {
        fs::write(root.join("a"), "a").unwrap();
        fs::create_dir(root.join("d")).unwrap();
    });
    let refused = Err(Errno::ROFS);
    guest.find(1, "a").unwrap();
    guest.find(2, "d").unwrap();
    for flags in [WRITE, READ_WRITE, READ | TRUNCATE] {
        assert_eq!(guest.open(1, flags), refused);
    }
    assert_eq!(guest.create(2, "new", READ, 0o644), refused);
    assert_eq!(guest.set(1, 1, 0o777, 0), refused);
    assert_eq!(guest.set(1, 8, 0, 0), refused);
    assert_eq!(guest.make_folder(ROOT, "x", 0o755), refused);
    assert_eq!(guest.make_node(ROOT, "x", 0o100_644), refused);
    assert_eq!(guest.symlink(ROOT, "x", "a"), refused);
    assert_eq!(guest.link(2, 1, "x"), refused);
    assert_eq!(guest.rename(1, 2, "x"), refused);
    assert_eq!(guest.rename_at(ROOT, "a", 2, "x"), refused);
    assert_eq!(guest.unlink(ROOT, "a", 0), refused);
    assert_eq!(guest.unlink(ROOT, "d", REMOVE_FOLDER), refused);
    assert_eq!(guest.content("a").unwrap(), b"a");
    guest.open(1, READ).unwrap();
    assert_eq!(guest.write(1, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(guest.remove(1), refused);
    assert_eq!(guest.text("a"), "a");
}

#[test]
fn a_share_that_vanishes_is_an_error_to_the_guest() {
    let mut guest = Guest::with(|root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/a"), "a").unwrap();
    });
    guest.find(1, "d").unwrap();
    guest.find(2, "d/a").unwrap();
    guest.find(3, "d/a").unwrap();
    guest.open(3, READ).unwrap();
    fs::remove_dir_all(guest.host("")).unwrap();
    assert_eq!(guest.walk(1, 9, &["a"]), Err(Errno::NOENT));
    assert_eq!(guest.walk(1, 9, &[".."]), Err(Errno::STALE));
    assert_eq!(guest.make_folder(ROOT, "x", 0o755), Err(Errno::NOENT));
    assert_eq!(guest.rename(2, ROOT, "x"), Err(Errno::STALE));
    assert_eq!(guest.remove(2), Err(Errno::STALE));
    // What is open can still be read.
    assert_eq!(guest.read(3, 0, 9).unwrap(), b"a");
    assert!(guest.attributes(1).is_ok());
}

#[test]
fn files_that_the_user_may_not_read_are_not_read() {
    if rustix::process::geteuid().is_root() {
        // Root may read everything; the test means something for everybody else.
        return;
    }
    let mut guest = Guest::with(|root| {
        fs::write(root.join("secret"), "s").unwrap();
        fs::set_permissions(root.join("secret"), Permissions::from_mode(0o000)).unwrap();
    });
    assert_eq!(guest.content("secret"), Err(Errno::ACCESS));
}
