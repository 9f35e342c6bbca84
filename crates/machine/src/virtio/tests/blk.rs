//! The block device, driven as by a driver.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringer_hart::Width;
use ringer_hart::persist::Persist;

use super::{RING, VERSION_1};
use crate::backend::{BackendError, BackendResult, BlockBackend, MemoryDisk};
use crate::device::Device;
use crate::lock::Lock;
use crate::virtio::blk::{Status, feature, request};
use crate::virtio::testing::{BUFFERS, Buffer, DriverQueue, Rig, readable, writable};
use crate::virtio::{Blk, QueueError};

const SECTORS: usize = 64;
const HEADER: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x20;
const DATA: u64 = BUFFERS + 0x1000;

/// What a disk did, and what is on it.
struct Inside {
    disk: MemoryDisk<Vec<u8>>,
    log: Vec<&'static str>,
    /// Reads and writes at or beyond this offset fail.
    broken_from: u64,
}

#[derive(Clone)]
struct SharedDisk(Arc<Lock<Inside>>);

impl SharedDisk {
    fn new(read_only: bool) -> Self {
        let bytes = (0..SECTORS * 512).map(|n| (n / 512 + n) as u8).collect();
        Self(Arc::new(Lock::new(Inside {
            disk: MemoryDisk::new(bytes, read_only),
            log: vec![],
            broken_from: u64::MAX,
        })))
    }
    fn at(&self, sector: usize, len: usize) -> Vec<u8> {
        self.0.lock().disk.bytes()[sector * 512..][..len].to_vec()
    }
    fn log(&self) -> Vec<&'static str> {
        core::mem::take(&mut self.0.lock().log)
    }
    fn on(
        &self,
        what: &'static str,
        end: u64,
        run: impl FnOnce(&mut MemoryDisk<Vec<u8>>) -> BackendResult,
    ) -> BackendResult {
        let mut inside = self.0.lock();
        inside.log.push(what);
        if end > inside.broken_from {
            return Err(BackendError);
        }
        run(&mut inside.disk)
    }
}

impl BlockBackend for SharedDisk {
    fn len(&self) -> u64 {
        self.0.lock().disk.len()
    }
    fn read_only(&self) -> bool {
        self.0.lock().disk.read_only()
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> BackendResult {
        self.on("read", at + into.len() as u64, |disk| disk.read(at, into))
    }
    fn write(&mut self, at: u64, from: &[u8]) -> BackendResult {
        self.on("write", at + from.len() as u64, |disk| disk.write(at, from))
    }
    fn flush(&mut self) -> BackendResult {
        self.on("flush", 0, |disk| disk.flush())
    }
    fn discard(&mut self, at: u64, len: u64) -> BackendResult {
        self.on("discard", at + len, |disk| disk.discard(at, len))
    }
    fn write_zeroes(&mut self, at: u64, len: u64, unmap: bool) -> BackendResult {
        let what = if unmap { "zero and unmap" } else { "zero" };
        self.on(what, at + len, |disk| disk.write_zeroes(at, len, unmap))
    }
}

struct Bench {
    rig: Rig,
    disk: SharedDisk,
    queue: DriverQueue,
}

impl Bench {
    fn new(read_only: bool) -> Self {
        Self::with_features(read_only, u64::MAX)
    }
    fn with_features(read_only: bool, mask: u64) -> Self {
        let disk = SharedDisk::new(read_only);
        let rig = Rig::new(Box::new(Blk::new(Box::new(disk.clone()), "ringer-disk")));
        let features = rig.offered() & mask;
        let queue = rig.start(features, 1, 8).unwrap().remove(0);
        Self { rig, disk, queue }
    }
    fn header(&self, kind: u32, sector: u64) {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.rig.put(HEADER, &header);
        self.rig.put(STATUS, &[0xff]);
    }
    /// Does a request with one data buffer, and returns the status and the length reported.
    fn request(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        self.header(kind, sector);
        let buffers = [&[readable(HEADER, 16)], data, &[writable(STATUS, 1)]].concat();
        let head = self.queue.add(self.rig.ram(), &buffers);
        self.rig.kick(&mut self.queue);
        let (done, len) = self.queue.take_used(self.rig.ram()).unwrap();
        assert_eq!(done, head.into());
        (self.rig.bytes(STATUS, 1)[0], len)
    }
    fn ranges(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> u8 {
        let list: Vec<u8> = ranges
            .iter()
            .flat_map(|(sector, count, flags)| {
                [
                    &sector.to_le_bytes()[..],
                    &count.to_le_bytes(),
                    &flags.to_le_bytes(),
                ]
                .concat()
            })
            .collect();
        self.rig.put(DATA, &list);
        self.request(kind, 0, &[readable(DATA, list.len() as u32)])
            .0
    }
}

const OK: u8 = Status::Ok as u8;
const IO_ERROR: u8 = Status::IoError as u8;
const UNSUPPORTED: u8 = Status::Unsupported as u8;

#[test]
fn configuration() {
    let bench = Bench::new(false);
    let config = |offset: u64, width| bench.rig.device().load(0x100 + offset, width).unwrap();
    assert_eq!(config(0, Width::Double), SECTORS as u64);
    assert_eq!(config(12, Width::Word), 254);
    assert_eq!(config(20, Width::Word), 512);
    assert_eq!(config(24, Width::Byte), 3);
    assert_eq!(config(32, Width::Byte), 1);
    assert_eq!(config(40, Width::Word), 64);
    assert_eq!(config(52, Width::Word), 1);
    assert_eq!(config(56, Width::Byte), 1);
    assert_eq!(config(60, Width::Double), 0);
    assert_eq!(config(0xe00, Width::Half), 0);
}

#[test]
fn reads_and_writes() {
    let mut bench = Bench::new(false);
    assert_eq!(
        bench.request(request::IN, 3, &[writable(DATA, 1024)]),
        (OK, 1025)
    );
    assert_eq!(bench.rig.bytes(DATA, 1024), bench.disk.at(3, 1024));
    bench.rig.put(DATA, &[7; 700]);
    bench.rig.put(DATA + 0x1001, &[8; 324]);
    let parts = [readable(DATA, 700), readable(DATA + 0x1001, 324)];
    assert_eq!(bench.request(request::OUT, 10, &parts), (OK, 1));
    assert_eq!(bench.disk.at(10, 700), [7; 700]);
    assert_eq!(bench.disk.at(10, 1024)[700..], [8; 324]);
    assert_eq!(bench.request(request::FLUSH, 0, &[]), (OK, 1));
    assert_eq!(bench.disk.log(), ["read", "write", "flush"]);
}

#[test]
fn the_framing_is_the_drivers_choice() {
    let mut bench = Bench::new(false);
    bench.header(request::IN, 1);
    // Header in three pieces; data and status in one buffer (2.7.4.1).
    let buffers = [
        readable(HEADER, 1),
        readable(HEADER + 1, 6),
        readable(HEADER + 7, 9),
        writable(DATA, 513),
    ];
    bench
        .queue
        .add_indirect(bench.rig.ram(), BUFFERS + 0x800, &buffers);
    bench.rig.kick(&mut bench.queue);
    assert_eq!(bench.queue.take_used(bench.rig.ram()), Some((0, 513)));
    assert_eq!(bench.rig.bytes(DATA, 512), bench.disk.at(1, 512));
    assert_eq!(bench.rig.bytes(DATA + 512, 1), [OK]);
}

#[test]
fn beyond_the_end_is_an_error() {
    let mut bench = Bench::new(false);
    let end = SECTORS as u64;
    for sector in [
        end,
        end - 1,
        u64::MAX,
        u64::MAX / 512,
        u64::MAX / 512 + 1,
        1 << 55,
    ] {
        for (kind, data) in [
            (request::IN, writable(DATA, 1024)),
            (request::OUT, readable(DATA, 1024)),
        ] {
            assert_eq!(
                bench.request(kind, sector, &[data]).0,
                IO_ERROR,
                "{sector:#x}"
            );
        }
    }
    assert_eq!(
        bench
            .request(request::IN, end - 1, &[writable(DATA, 512)])
            .0,
        OK
    );
    // Half sectors.
    assert_eq!(
        bench.request(request::IN, 0, &[writable(DATA, 511)]).0,
        IO_ERROR
    );
    assert_eq!(
        bench.request(request::OUT, 0, &[readable(DATA, 513)]).0,
        IO_ERROR
    );
    assert_eq!(bench.disk.log(), ["read"]);
}

#[test]
fn a_read_that_fails_half_way_reports_what_was_written() {
    let mut bench = Bench::new(false);
    let pieces = [writable(DATA, 4096), writable(DATA + 0x1000, 4096)];
    bench.disk.0.lock().broken_from = 4096;
    assert_eq!(bench.request(request::IN, 0, &pieces), (IO_ERROR, 0));
    bench.disk.0.lock().broken_from = u64::MAX;
    assert_eq!(bench.request(request::IN, 0, &pieces), (OK, 8193));
}

#[test]
fn serial_number() {
    let mut bench = Bench::new(false);
    assert_eq!(
        bench.request(request::GET_ID, 0, &[writable(DATA, 20)]),
        (OK, 21)
    );
    assert_eq!(bench.rig.bytes(DATA, 20), *b"ringer-disk\0\0\0\0\0\0\0\0\0");
}

#[test]
fn unknown_requests_are_unsupported() {
    let mut bench = Bench::new(false);
    for kind in [2, 3, 7, 12, 14, 25, u32::MAX] {
        assert_eq!(bench.request(kind, 0, &[]), (UNSUPPORTED, 1));
    }
}

#[test]
fn discard_and_write_zeroes() {
    let mut bench = Bench::new(false);
    let (zero, discard) = (request::WRITE_ZEROES, request::DISCARD);
    assert_eq!(bench.ranges(zero, &[(2, 1, 0)]), OK);
    assert_eq!(bench.ranges(zero, &[(4, 2, 1)]), OK);
    assert_eq!(bench.disk.log(), ["zero", "zero and unmap"]);
    assert_eq!(bench.disk.at(2, 512), [0; 512]);
    assert_ne!(bench.disk.at(3, 512), [0; 512]);
    assert_eq!(bench.disk.at(4, 1024), [0; 1024]);
    assert_eq!(bench.ranges(discard, &[(2, 1, 0), (9, 3, 0)]), OK);
    assert_eq!(bench.disk.log(), ["discard", "discard"]);
    // Flags that mean nothing, ranges that are not on the disk, lists cut short or too long:
    // nothing happens, not even to the sound ranges before.
    assert_eq!(bench.ranges(discard, &[(0, 1, 0), (2, 1, 1)]), UNSUPPORTED);
    assert_eq!(bench.ranges(discard, &[(0, 1, 0), (63, 2, 0)]), IO_ERROR);
    assert_eq!(bench.ranges(discard, &vec![(0, 1, 0); 65]), IO_ERROR);
    assert_eq!(bench.ranges(zero, &[(2, 1, 2)]), UNSUPPORTED);
    assert_eq!(bench.ranges(zero, &[(63, 2, 0)]), IO_ERROR);
    assert_eq!(bench.ranges(zero, &[(u64::MAX, 1, 0)]), IO_ERROR);
    assert_eq!(bench.ranges(zero, &[(0, u32::MAX, 0)]), IO_ERROR);
    assert_eq!(bench.ranges(zero, &[(0, 1, 0), (1, 1, 0)]), IO_ERROR);
    for kind in [zero, discard] {
        assert_eq!(bench.request(kind, 0, &[readable(DATA, 15)]).0, IO_ERROR);
        assert_eq!(bench.request(kind, 0, &[]).0, IO_ERROR);
    }
    assert!(bench.disk.log().is_empty());
    // Not agreed on.
    let mut bench = Bench::with_features(false, RING);
    assert_eq!(bench.ranges(zero, &[(2, 1, 0)]), UNSUPPORTED);
    assert_eq!(bench.ranges(discard, &[(2, 1, 0)]), UNSUPPORTED);
}

/// A large disk that counts what is zeroed.
#[derive(Clone, Default)]
struct Zeroed(Arc<AtomicU64>);

impl BlockBackend for Zeroed {
    fn len(&self) -> u64 {
        1 << 30
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&mut self, _at: u64, _into: &mut [u8]) -> BackendResult {
        Err(BackendError)
    }
    fn write(&mut self, _at: u64, _from: &[u8]) -> BackendResult {
        Err(BackendError)
    }
    fn flush(&mut self) -> BackendResult {
        Ok(())
    }
    fn discard(&mut self, _at: u64, _len: u64) -> BackendResult {
        Err(BackendError)
    }
    fn write_zeroes(&mut self, _at: u64, len: u64, _unmap: bool) -> BackendResult {
        self.0.fetch_add(len, Relaxed);
        Ok(())
    }
}

#[test]
fn much_to_zero_is_not_done_in_one_go() {
    let zeroed = Zeroed::default();
    let rig = Rig::new(Box::new(Blk::new(Box::new(zeroed.clone()), "large")));
    let mut queue = rig.start(rig.offered(), 1, 8).unwrap().remove(0);
    let header = [&request::WRITE_ZEROES.to_le_bytes()[..], &[0; 12]].concat();
    rig.put(HEADER, &header);
    let sectors: u32 = 64 << 11;
    let range = [&[0; 8][..], &sectors.to_le_bytes(), &[0; 4]].concat();
    rig.put(DATA, &range);
    for status in [STATUS, STATUS + 1] {
        let buffers = [
            readable(HEADER, 16),
            readable(DATA, 16),
            writable(status, 1),
        ];
        queue.add(rig.ram(), &buffers);
    }
    rig.kick(&mut queue);
    assert_eq!(zeroed.0.load(Relaxed), 64 << 20);
    // The rest when there is time.
    rig.device().poll();
    assert_eq!(zeroed.0.load(Relaxed), 128 << 20);
    assert_eq!(rig.bytes(STATUS, 2), [OK, OK]);
}

#[test]
fn read_only_disks_stay_as_they_are() {
    let mut bench = Bench::new(true);
    assert_ne!(bench.rig.offered() & feature::RO, 0);
    assert_eq!(
        bench.request(request::OUT, 0, &[readable(DATA, 512)]).0,
        IO_ERROR
    );
    assert_eq!(
        bench.ranges(request::WRITE_ZEROES, &[(2, 1, 0)]),
        UNSUPPORTED
    );
    assert_eq!(bench.request(request::IN, 0, &[writable(DATA, 512)]).0, OK);
    assert_eq!(bench.disk.log(), ["read"]);
}

#[test]
fn without_a_cache_writes_are_durable_at_once() {
    // A driver that cannot flush.
    let mut bench = Bench::with_features(false, VERSION_1);
    assert_eq!(bench.request(request::OUT, 0, &[readable(DATA, 512)]).0, OK);
    assert_eq!(bench.disk.log(), ["write", "flush"]);
    // One that turns the cache off, and on again.
    let mut bench = Bench::new(false);
    for (cache, log) in [(0, &["write", "flush"][..]), (1, &["write"])] {
        bench.rig.device().store(0x120, Width::Byte, cache).unwrap();
        assert_eq!(bench.rig.device().load(0x120, Width::Byte), Ok(cache));
        assert_eq!(bench.request(request::OUT, 0, &[readable(DATA, 512)]).0, OK);
        assert_eq!(bench.disk.log(), log);
    }
}

#[test]
fn a_driver_that_leaves_out_version_1_is_served() {
    // As xv6 does: it takes the low half of the features, without those it does not know.
    let mut bench = Bench::with_features(false, feature::SEG_MAX | feature::FLUSH);
    let data = readable(DATA, 1024);
    assert_eq!(bench.request(request::OUT, 2, &[data]), (OK, 1));
    assert_eq!(bench.disk.log(), ["write"]);
}

#[test]
fn requests_without_header_or_status_stop_the_device() {
    for buffers in [
        &[readable(HEADER, 16)][..],
        &[readable(HEADER, 15), writable(STATUS, 1)],
        &[writable(STATUS, 1)],
    ] {
        let mut bench = Bench::new(false);
        bench.header(request::FLUSH, 0);
        bench.queue.add(bench.rig.ram(), buffers);
        bench.rig.kick(&mut bench.queue);
        assert_eq!(bench.rig.device().fault(), Some(QueueError::Request));
        assert_eq!(bench.queue.take_used(bench.rig.ram()), None);
    }
}

#[test]
fn requests_larger_than_the_bounce_buffer() {
    let mut bench = Bench::new(false);
    bench.disk.0.lock().disk =
        MemoryDisk::new((0..300_000).map(|n| (n / 7) as u8).collect(), false);
    let len = 512 * 500;
    assert_eq!(
        bench.request(request::IN, 1, &[writable(DATA, len)]),
        (OK, len + 1)
    );
    assert_eq!(
        bench.rig.bytes(DATA, len as usize),
        bench.disk.at(1, len as usize)
    );
}

#[test]
fn saved_with_requests_waiting() {
    let mut bench = Bench::new(false);
    bench.rig.device().store(0x120, Width::Byte, 0).unwrap();
    bench.header(request::OUT, 5);
    bench.rig.put(DATA, &[9; 512]);
    let buffers = [
        readable(HEADER, 16),
        readable(DATA, 512),
        writable(STATUS, 1),
    ];
    bench.queue.add(bench.rig.ram(), &buffers);
    let saved = bench.rig.device().save();
    let blk = || Box::new(Blk::new(Box::new(bench.disk.clone()), ""));
    bench.rig.replace(blk());
    assert_eq!(bench.rig.device().restore(&saved), Ok(()));
    bench.rig.kick(&mut bench.queue);
    assert_eq!(bench.queue.take_used(bench.rig.ram()), Some((0, 1)));
    assert_eq!(bench.disk.at(5, 512), [9; 512]);
    assert_eq!(bench.disk.log(), ["write", "flush"]);
    // A disk of another size is another disk.
    bench.disk.0.lock().disk = MemoryDisk::new(vec![0; 512], false);
    let before = bench.rig.device().save();
    assert!(bench.rig.device().restore(&saved).is_err());
    assert_eq!(bench.rig.device().save(), before);
}
