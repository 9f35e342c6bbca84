//! Messages to the server of a shared folder, in any order, with files to work on; and states
//! that it may be restored from.

use ringer::share::{Folder, Server};
use ringer_machine::backend::ShareBackend;

/// What a guest says first: its version, and a fid 0 of the root.
const GREETING: [&[u8]; 2] = [
    b"\x15\0\0\0\x64\xff\xff\0\0\x01\0\x08\x009P2000.L",
    b"\x17\0\0\0\x68\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
];

/// The first byte chooses whether the share is read-only, and whether the rest is messages (each a
/// length, a kind and so many bytes) or a saved state.
pub fn run(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("share");
    std::fs::create_dir_all(root.join("a/b")).expect("folders");
    std::fs::write(root.join("a/file"), "content").expect("a file");
    std::os::unix::fs::symlink("..", root.join("link")).expect("a link");
    let folder = Folder::open(&root, first & 1 != 0).expect("a share");
    let mut server = Server::new(folder, 16);
    let mut reply = vec![0; 8192];
    if first & 2 != 0 {
        let _ = server.restore(rest);
        rest = &[];
        for fid in 0..8 {
            // Read its attributes.
            let message = [&b"\x13\0\0\0\x18\0\0"[..], &[fid, 0, 0, 0], &[0xff; 8]].concat();
            server.answer(&message, &mut reply);
        }
    }
    for message in GREETING {
        let len = server.answer(message, &mut reply);
        assert_eq!(reply.get(4), message.get(4).map(|kind| kind + 1).as_ref());
        assert!(len > 7);
    }
    while let [len, kind, body @ ..] = rest {
        let (body, behind) = body.split_at(body.len().min(usize::from(*len)));
        rest = behind;
        let mut message = (body.len() as u32 + 7).to_le_bytes().to_vec();
        message.extend([*kind, 0, 0]);
        message.extend(body);
        let len = server.answer(&message, &mut reply);
        assert!((11..=8192).contains(&len) || (7..11).contains(&len));
    }
    let saved = server.save();
    assert_eq!(server.restore(&saved), Ok(()));
    assert_eq!(server.save(), saved);
    // Nothing was made outside.
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("the folder").count(),
        1
    );
}
