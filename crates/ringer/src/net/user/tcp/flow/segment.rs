//! A segment of the guest, and numbers on the circle that TCP counts bytes on.

use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use crate::net::user::addresses::Pair;

/// A segment of the guest, checked.
pub struct Segment<'a>(pub TcpRepr<'a>);

impl Segment<'_> {
    /// The number of its first byte.
    pub fn seq(&self) -> u32 {
        self.0.seq_number.0 as u32
    }
    /// The byte that the guest waits for.
    pub fn ack(&self) -> Option<u32> {
        self.0.ack_number.map(|ack| ack.0 as u32)
    }
    /// The number after its last byte; SYN and FIN count as one each.
    pub fn end(&self) -> u32 {
        self.seq().wrapping_add(self.0.segment_len() as u32)
    }
}

/// Whether `a` comes before `b` on the circle of sequence numbers.
pub fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// As smoltcp takes it.
pub fn number(value: u32) -> TcpSeqNumber {
    TcpSeqNumber(value as i32)
}

/// A segment to the guest without data, options and window.
pub fn header(
    pair: &Pair,
    control: TcpControl,
    seq: TcpSeqNumber,
    ack: Option<TcpSeqNumber>,
) -> TcpRepr<'static> {
    TcpRepr {
        src_port: pair.outside.port(),
        dst_port: pair.guest.port(),
        control,
        seq_number: seq,
        ack_number: ack,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}
