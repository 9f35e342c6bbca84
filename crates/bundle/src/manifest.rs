//! The manifest as it is written: CBOR with numbered fields. A number is never reused; a field
//! added later is an `Option`, so that bundles of this version stay readable.

use alloc::vec::Vec;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// All of it.
#[derive(Encode, Decode)]
pub struct Manifest<'a> {
    #[b(0)]
    pub guests: Vec<Guest<'a>>,
    /// The blobs, in their order in the bundle; guests name them by number.
    #[n(1)]
    pub blobs: Vec<Blob>,
}

#[derive(Encode, Decode)]
pub struct Blob {
    #[n(0)]
    pub len: u64,
    #[n(1)]
    pub crc: u32,
}

#[derive(Encode, Decode)]
pub struct Guest<'a> {
    #[b(0)]
    pub name: &'a str,
    /// If it is not the guest's name.
    #[b(1)]
    pub console: Option<&'a str>,
    #[n(2)]
    pub memory: u64,
    #[n(3)]
    pub harts: u32,
    #[n(4)]
    pub share: u32,
    #[b(5)]
    pub command_line: &'a str,
    #[n(6)]
    pub firmware: Option<Program>,
    #[n(7)]
    pub kernel: Option<Program>,
    #[n(8)]
    pub initrd: Option<u32>,
    #[n(9)]
    pub disks: Vec<Disk>,
    #[n(10)]
    pub ports: Vec<Port>,
}

#[derive(Encode, Decode)]
pub struct Program {
    #[n(0)]
    pub placement: Placement,
    #[n(1)]
    pub segments: Vec<Segment>,
}

#[derive(Encode, Decode)]
pub enum Placement {
    #[n(0)]
    Movable(#[n(0)] u64),
    #[n(1)]
    Fixed(#[n(0)] u64),
}

#[derive(Encode, Decode)]
pub struct Segment {
    #[n(0)]
    pub address: u64,
    #[n(1)]
    pub size: u64,
    /// Without one, all of it is zero.
    #[n(2)]
    pub blob: Option<u32>,
}

#[derive(Encode, Decode)]
pub struct Disk {
    #[n(0)]
    pub place: Place,
    #[n(1)]
    pub writable: bool,
}

#[derive(Encode, Decode)]
pub enum Place {
    #[n(0)]
    Blob(#[n(0)] u32),
    #[n(1)]
    Host {
        #[n(0)]
        disk: u32,
        #[n(1)]
        offset: u64,
        #[n(2)]
        size: u64,
    },
}

#[derive(Encode, Decode)]
pub struct Port {
    #[n(0)]
    pub switch: u32,
    #[n(1)]
    pub mac: Option<ByteArray<6>>,
    #[n(2)]
    pub bridged: bool,
}
