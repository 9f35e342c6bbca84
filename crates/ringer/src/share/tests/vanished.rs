//! The folder vanishes from the host while the guest has it mounted.

use std::fs;

use rustix::io::Errno;

use super::*;

fn with_files() -> Guest {
    Guest::with(|root| {
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/file"), "content").unwrap();
    })
}

#[test]
fn a_removed_folder_is_an_error_and_said_once() {
    let mut guest = with_files();
    guest.find(1, "sub/file").unwrap();
    guest.open(1, READ).unwrap();
    guest.find(2, "sub").unwrap();
    guest.find(3, "sub").unwrap();
    guest.open(3, READ).unwrap();
    assert_eq!(guest.find(9, "missing"), Err(Errno::NOENT));
    assert_eq!(
        guest.server.lost(),
        None,
        "a missing name is nothing special"
    );

    fs::remove_dir_all(guest.host("")).unwrap();
    // What is open is there as long as it is open.
    assert_eq!(guest.read(1, 0, 100).unwrap(), b"content");
    assert_eq!(guest.server.lost(), None);
    assert_eq!(guest.find(9, "sub"), Err(Errno::NOENT));
    let lost = guest.server.lost().unwrap().to_string();
    assert!(lost.ends_with("/share: it was removed"), "{lost}");
    assert_eq!(guest.list(3, 0, 1000), Err(Errno::NOENT));
    assert_eq!(guest.make_folder(2, "new", 0o755), Err(Errno::NOENT));
    assert_eq!(guest.symlink(2, "new", "x"), Err(Errno::NOENT));
    assert_eq!(guest.unlink(2, "file", 0), Err(Errno::NOENT));
    assert_eq!(guest.remove(1), Err(Errno::STALE));
    guest.walk(ROOT, 4, &[]).unwrap();
    assert_eq!(guest.create(4, "new", WRITE, 0o644), Err(Errno::NOENT));
    guest.attributes(ROOT).unwrap();

    // Another folder of this name is not the one that was shared.
    fs::create_dir(guest.host("")).unwrap();
    fs::write(guest.host("other"), "").unwrap();
    assert_eq!(guest.find(9, "other"), Err(Errno::NOENT));
    assert_eq!(guest.server.lost(), Some(lost.as_str()));
}

#[test]
fn a_renamed_folder_stays_shared() {
    let mut guest = with_files();
    guest.find(1, "sub").unwrap();
    let elsewhere = guest.dir.path().join("elsewhere");
    fs::rename(guest.host(""), &elsewhere).unwrap();
    assert_eq!(guest.content("sub/file").unwrap(), b"content");
    guest.walk(1, 2, &["..", "sub", "file"]).unwrap();
    guest.rename(2, ROOT, "moved").unwrap();
    assert_eq!(fs::read(elsewhere.join("moved")).unwrap(), b"content");
    assert_eq!(guest.server.lost(), None);
}

#[test]
fn a_host_that_cannot_read_is_said() {
    let guest = with_files();
    let folder = Folder::open(&guest.host(""), false).unwrap();
    for error in [Errno::NOENT, Errno::STALE, Errno::ACCESS, Errno::NOSPC] {
        assert_eq!(folder.loss(error), None);
    }
    for error in [Errno::IO, Errno::NOTCONN] {
        let lost = folder.loss(error).unwrap();
        assert!(
            lost.contains("/share") && lost.contains("os error"),
            "{lost}"
        );
    }
}
