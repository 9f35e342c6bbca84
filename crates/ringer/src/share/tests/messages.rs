//! Requests are read as the protocol says, and an answer fits where it is put.

use super::*;
use crate::share::message::{Message, Name, NewTime, Reply, Request, SetAttributes, Step};

fn read(kind: u8, fields: Body) -> Result<Request<'static>, Errno> {
    let bytes: &'static [u8] = fields.message(kind, 7).leak();
    let message = Message::read(bytes).unwrap();
    assert_eq!((message.kind, message.tag), (kind, 7));
    message.request
}

#[test]
fn fields_are_in_the_protocols_order() {
    let name = |name: &'static str| Name::new(name.as_bytes()).unwrap();
    assert_eq!(
        read(
            kind::WALK,
            body().u32(1).u32(2).u16(2).string("a").string("..")
        ),
        Ok(Request::Walk {
            fid: 1,
            new: 2,
            steps: vec![Step::Down(name("a")), Step::Up]
        })
    );
    assert_eq!(
        read(
            kind::LCREATE,
            body().u32(1).string("n").u32(2).u32(0o644).u32(9)
        ),
        Ok(Request::Lcreate {
            fid: 1,
            name: name("n"),
            flags: 2,
            mode: 0o644
        })
    );
    assert_eq!(
        read(kind::RENAMEAT, body().u32(1).string("a").u32(2).string("b")),
        Ok(Request::Renameat {
            from: 1,
            name: name("a"),
            to: 2,
            new_name: name("b")
        })
    );
    assert_eq!(
        read(kind::LINK, body().u32(1).u32(2).string("a")),
        Ok(Request::Link {
            folder: 1,
            fid: 2,
            name: name("a")
        })
    );
    assert_eq!(
        read(kind::WRITE, body().u32(1).u64(2).u32(3).bytes(b"abc")),
        Ok(Request::Write {
            fid: 1,
            offset: 2,
            data: b"abc"
        })
    );
    let set = |valid| body().u32(1).u32(valid).u32(0o600).u32(0).u32(0).u64(5);
    let set = |valid| read(kind::SETATTR, set(valid).u64(1).u64(2).u64(3).u64(4));
    let with = |set| Ok(Request::Setattr { fid: 1, set });
    assert_eq!(set(0x46), with(SetAttributes::default()));
    let mode = SetAttributes {
        mode: Some(0o600),
        size: Some(5),
        ..SetAttributes::default()
    };
    assert_eq!(set(9), with(mode));
    let (now, then) = (Some(NewTime::Now), Some(NewTime::At(3, 4)));
    let times = SetAttributes {
        accessed: now,
        modified: then,
        ..SetAttributes::default()
    };
    assert_eq!(set(0x130), with(times));
}

#[test]
fn sizes_that_are_not_true_are_refused() {
    let good = body().u32(5).message(kind::CLUNK, 1);
    for size in [0, 6, 7, 10, 12, 1000, u32::MAX] {
        let mut bytes = good.clone();
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.request, Err(Errno::INVAL), "{size}");
    }
    for len in 0..HEADER {
        assert_eq!(Message::read(&good[..len]), None);
    }
    // What stands behind a message is not its own.
    let mut longer = good;
    longer.push(0xff);
    assert_eq!(
        Message::read(&longer).unwrap().request,
        Ok(Request::Clunk { fid: 5 })
    );
    // Counts and lengths beyond the end.
    let long = body().u32(1).u64(0).u32(4).bytes(b"abc");
    assert_eq!(read(kind::WRITE, long), Err(Errno::INVAL));
    let huge = body().u32(1).u64(0).u32(u32::MAX).bytes(b"abc");
    assert_eq!(read(kind::WRITE, huge), Err(Errno::INVAL));
    assert_eq!(
        read(kind::WALK, body().u32(1).u32(2).u16(u16::MAX)),
        Err(Errno::INVAL)
    );
    let cut = body().u32(1).u16(5).bytes(b"abc").u32(0);
    assert_eq!(read(kind::MKDIR, cut), Err(Errno::INVAL));
}

#[test]
fn answers_that_do_not_fit_are_errors() {
    for room in 0..40 {
        let mut buffer = vec![0xee; room];
        let mut reply = Reply::new(&mut buffer);
        reply.string(b"fourteen bytes");
        let len = reply.finish(kind::READLINK, 3, Ok(()));
        let (size, rest) = match room {
            0..11 => (0, &[][..]),
            11..23 => (11, &[kind::RLERROR, 3, 0, 90, 0, 0, 0][..]),
            _ => (23, &b"\x17\x03\0\x0e\0fourteen bytes"[..]),
        };
        assert_eq!(len, size);
        if size > 0 {
            assert_eq!(&buffer[..4], (size as u32).to_le_bytes());
            assert_eq!(&buffer[4..size], rest);
        }
        assert!(
            buffer[size.max(11).min(room)..]
                .iter()
                .all(|&byte| byte == 0xee)
                || size > 0
        );
    }
}
