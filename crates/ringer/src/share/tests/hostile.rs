//! Messages that mean no good: nothing crashes, and limits hold.

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::share::fids::MAX_FIDS;

fn with_some_files() -> Guest {
    Guest::with(|root| {
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "content").unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
    })
}

#[test]
fn nothing_before_the_version() {
    let mut guest = with_some_files();
    guest.server.reset();
    assert_eq!(guest.attach(ROOT), Err(Errno::PROTO));
    for (version, answer) in [
        ("9P2000.u", "unknown"),
        ("", "unknown"),
        ("9P2000.L", "9P2000.L"),
    ] {
        let reply = guest
            .call(kind::VERSION, body().u32(8192).string(version))
            .unwrap();
        let mut reply = Answer(&reply);
        assert_eq!((reply.number(4), reply.string().as_str()), (8192, answer));
        assert_eq!(guest.attach(ROOT).is_ok(), answer == "9P2000.L");
    }
    // A new version forgets the fids; limits that are too low are refused.
    guest.version(8192).unwrap();
    assert_eq!(guest.attributes(ROOT), Err(Errno::BADF));
    assert_eq!(guest.version(100), Err(Errno::INVAL));
    assert_eq!(guest.attach(ROOT), Err(Errno::PROTO));
}

#[test]
fn counts_and_messages_end_at_what_was_agreed_on() {
    let mut guest = with_some_files();
    std::fs::write(guest.host("big"), vec![b'x'; 100_000]).unwrap();
    guest.version(8192).unwrap();
    guest.attach(ROOT).unwrap();
    guest.find(1, "big").unwrap();
    guest.open(1, READ_WRITE).unwrap();
    assert_eq!(guest.read(1, 0, u32::MAX).unwrap().len(), 8192 - 11);
    assert_eq!(guest.write(1, 0, &[0; 8192]), Err(Errno::MSGSIZE));
    assert_eq!(guest.write(1, 0, &[0; 8192 - 23]).unwrap(), 8192 - 23);
    // Less room than agreed on, down to what holds an error only, and not even that.
    let read = body().u32(1).u64(0).u32(1000);
    let answer = guest.call_with_room(kind::READ, read.clone(), 100).unwrap();
    assert_eq!(answer.len(), 100 - HEADER);
    let answer = guest.call_with_room(kind::GETATTR, body().u32(1).u64(0), 50);
    assert_eq!(answer, Err(Errno::MSGSIZE));
    assert_eq!(
        guest
            .server
            .answer(&read.message(kind::READ, 0), &mut [0; 5]),
        0
    );
    // Offsets beyond what files have.
    for offset in [u64::MAX, i64::MAX as u64, u64::MAX - 5] {
        assert!(guest.read(1, offset, 10).is_err() || guest.read(1, offset, 10) == Ok(vec![]));
        assert!(guest.write(1, offset, b"0123456789").is_err());
        assert!(guest.set(1, 8, 0, offset).is_err());
    }
    guest.walk(ROOT, 2, &[]).unwrap();
    guest.open(2, READ).unwrap();
    for offset in [1, 12345, u64::MAX, i64::MAX as u64] {
        let _ = guest.list(2, offset, u32::MAX);
    }
    assert!(guest.list(2, 0, u32::MAX).unwrap().len() > 3);
}

#[test]
fn there_is_an_end_to_fids() {
    let mut guest = Guest::mount(|_| {}, false, 9000);
    let mut made = 1;
    let refused = loop {
        match guest.walk(ROOT, made, &[]) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Errno::NFILE);
    assert_eq!(guest.server.fids().iter().count(), MAX_FIDS);
    assert!(guest.server.fids().held() <= 9000);
    guest.clunk(1).unwrap();
    guest.walk(ROOT, 1, &[]).unwrap();
}

#[test]
fn fids_that_cannot_be_parked_are_not_looked_at_for_every_request() {
    const BUDGET: u32 = 6400;
    let mut guest = Guest::mount(
        |root| std::fs::create_dir(root.join("in")).unwrap(),
        false,
        BUDGET as usize,
    );
    // A folder that was removed is not found again by any path.
    guest.find(1, "in").unwrap();
    std::fs::remove_dir(guest.host("in")).unwrap();
    for fid in 2..=BUDGET {
        guest.walk(1, fid, &[]).unwrap();
    }
    // The last one parked the root, and there is nothing more to park.
    assert_eq!(guest.attributes(ROOT), Err(Errno::MFILE));
    guest.clunk(BUDGET).unwrap();
    guest.attributes(ROOT).unwrap();
    // The root could be parked again, but that is not looked for at once.
    assert_eq!(guest.walk(1, BUDGET, &[]), Err(Errno::MFILE));
    let later = (0..1000).find(|_| guest.walk(1, BUDGET, &[]).is_ok());
    assert!(later.is_some_and(|tries| tries > 0), "{later:?}");
}

/// Any fields, of which some fit together.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["a", "b", "file", "link", "..", "../x", ""]);
    let number = prop_oneof![0..6_u32, any::<u32>()];
    let field = prop_oneof![
        number
            .clone()
            .prop_map(|value| value.to_le_bytes().to_vec()),
        name.prop_map(|name| body().string(name).0),
        any::<u16>().prop_map(|value| value.to_le_bytes().to_vec()),
        (0..20_u64).prop_map(|value| value.to_le_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let fields = (0..6_u32, prop::collection::vec(field, 0..7));
    let fields = fields.prop_map(|(fid, fields)| body().u32(fid).bytes(&fields.concat()));
    // The server's own numbers are even and within 8 and 122.
    let kind = prop_oneof![(4..62_u8).prop_map(|half| half * 2), any::<u8>()];
    prop_oneof![
        20 => (kind, fields, any::<u16>()).prop_map(|(kind, fields, tag)| fields.message(kind, tag)),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #[test]
    fn any_messages_in_any_order(messages in prop::collection::vec(message(), 1..60)) {
        let mut guest = with_some_files();
        let outside = guest.dir.path().join("outside");
        std::fs::write(&outside, "untouched").unwrap();
        let mut reply = vec![0; 4096];
        for message in messages {
            let len = guest.server.answer(&message, &mut reply);
            prop_assert!(len == 0 || (HEADER..=4096).contains(&len));
            if len > 0 {
                prop_assert_eq!(Answer(&reply).number(4), len as u64);
            }
            prop_assert!(guest.server.fids().held() <= 1000);
        }
        prop_assert_eq!(std::fs::read_dir(guest.dir.path()).unwrap().count(), 2);
        prop_assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
        // In any state, it is saved and goes on.
        let saved = guest.server.save();
        prop_assert_eq!(guest.server.restore(&saved), Ok(()));
        prop_assert_eq!(guest.server.save(), saved);
    }

    #[test]
    fn any_saved_state(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut guest = with_some_files();
        let _ = guest.server.restore(&bytes);
        guest.version(8192).unwrap();
    }

    #[test]
    fn damaged_saved_states(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut guest = with_some_files();
        guest.find(1, "a/file").unwrap();
        guest.find(2, "a").unwrap();
        guest.open(2, READ).unwrap();
        let mut saved = guest.server.save();
        let at = at.index(saved.len());
        saved[at] = byte;
        if guest.server.restore(&saved).is_ok() {
            for fid in 0..3 {
                let _ = guest.attributes(fid);
                let _ = guest.walk(fid, 10 + fid, &["file"]);
            }
        }
    }
}
