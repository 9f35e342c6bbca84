//! The block device (virtio 1.2, 5.2).

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use ringer_hart::Ram;
use ringer_hart::persist::{PersistError, decode, encode};

use crate::backend::{BackendError, BlockBackend};

use super::chain::{Chain, Reader, Writer};
use super::device::{DeviceType, Io, VirtioDevice, read_config_bytes};
use super::queue::QueueError;

const QUEUE_SIZE: u16 = 256;
const SECTOR: u64 = 512;
/// Bytes moved between RAM and the backend at a time.
const BOUNCE: usize = 64 << 10;
/// Ranges in one discard request.
const MAX_DISCARDS: u32 = 64;
/// Ranges in one write-zeroes request, which is more work.
const MAX_ZEROES: u32 = 1;
/// Sectors in a range to discard (2 GiB).
const MAX_DISCARD_SECTORS: u32 = 4 << 20;
/// Sectors in a range to zero (64 MiB), so that a request ends in reasonable time: whoever serves
/// it may have other guests to run.
const MAX_ZERO_SECTORS: u32 = 128 << 10;
/// Length of the serial number.
const ID_BYTES: usize = 20;

/// Feature bits of a block device.
pub mod feature {
    /// `seg_max` is valid.
    pub const SEG_MAX: u64 = 1 << 2;
    /// Writes fail.
    pub const RO: u64 = 1 << 5;
    /// `blk_size` is valid.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// There is a volatile cache, and a flush command for it.
    pub const FLUSH: u64 = 1 << 9;
    /// The topology fields are valid.
    pub const TOPOLOGY: u64 = 1 << 10;
    /// The driver may turn the cache on and off.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// Discard is offered.
    pub const DISCARD: u64 = 1 << 13;
    /// Write-zeroes is offered.
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Request types.
pub mod request {
    /// Read sectors.
    pub const IN: u32 = 0;
    /// Write sectors.
    pub const OUT: u32 = 1;
    /// Make writes durable.
    pub const FLUSH: u32 = 4;
    /// Read the serial number.
    pub const GET_ID: u32 = 8;
    /// Forget sectors.
    pub const DISCARD: u32 = 11;
    /// Zero sectors.
    pub const WRITE_ZEROES: u32 = 13;
}

/// What a request ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Failed.
    IoError = 1,
    /// There is no such request.
    Unsupported = 2,
}

impl From<BackendError> for Status {
    fn from(_: BackendError) -> Self {
        Status::IoError
    }
}

/// A disk.
pub struct Blk {
    backend: Box<dyn BlockBackend>,
    serial: [u8; ID_BYTES],
    features: u64,
    /// Whether the driver lets writes stay in a cache; valid with `CONFIG_WCE`.
    writeback: bool,
    bounce: Vec<u8>,
    /// Bytes that the request at hand has set to zero.
    zeroed: u64,
}

#[derive(Encode, Decode)]
struct State {
    #[n(0)]
    sectors: u64,
    #[n(1)]
    read_only: bool,
    #[n(2)]
    writeback: bool,
}

impl Blk {
    /// A disk on `backend` that gives `serial` (its first 20 bytes) as its serial number.
    pub fn new(backend: Box<dyn BlockBackend>, serial: &str) -> Self {
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(serial.bytes()) {
            *to = from;
        }
        Self {
            backend,
            serial: id,
            features: 0,
            writeback: true,
            bounce: vec![0; BOUNCE],
            zeroed: 0,
        }
    }
    fn sectors(&self) -> u64 {
        self.backend.len() / SECTOR
    }
    /// The byte offset of a range, if it lies on the disk.
    fn range(&self, sector: u64, bytes: u64) -> Result<u64, Status> {
        let end = sector
            .checked_mul(SECTOR)
            .and_then(|start| start.checked_add(bytes));
        match end {
            Some(end) if end <= self.sectors() * SECTOR => Ok(end - bytes),
            _ => Err(Status::IoError),
        }
    }
    fn writable(&self) -> Result<(), Status> {
        match self.backend.read_only() {
            true => Err(Status::IoError),
            false => Ok(()),
        }
    }
    /// After a write: durable at once, unless the driver knows of the cache (5.2.6.2).
    fn wrote(&mut self) -> Result<(), Status> {
        let cached = match self.features & feature::CONFIG_WCE != 0 {
            true => self.writeback,
            false => self.features & feature::FLUSH != 0,
        };
        if !cached {
            self.backend.flush()?;
        }
        Ok(())
    }

    fn handle(&mut self, ram: &Ram, chain: &Chain) -> Result<u32, QueueError> {
        let mut reader = chain.reader(ram);
        let header: [u8; 16] = reader.read_array().ok_or(QueueError::Request)?;
        let (mut data, mut status) = chain.writer(ram).split_end(1);
        if status.remaining() == 0 {
            return Err(QueueError::Request);
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let kind = u32::from_le_bytes([t0, t1, t2, t3]);
        let sector = u64::from_le_bytes(sector);
        let outcome = match kind {
            request::IN => self.read(sector, &mut data),
            request::OUT => self.write(sector, &mut reader),
            request::FLUSH => self.backend.flush().map_err(Status::from),
            request::GET_ID => {
                data.write(&self.serial);
                Ok(())
            }
            request::DISCARD | request::WRITE_ZEROES => {
                self.ranges(kind == request::WRITE_ZEROES, &reader)
            }
            _ => Err(Status::Unsupported),
        };
        let outcome = outcome.err().unwrap_or(Status::Ok);
        let contiguous = data.remaining() == 0;
        // The status is written last: a driver may watch it.
        status.write(&[outcome as u8]);
        // 2.7.8.2: the length covers only what was written without a gap from the start.
        let written = data.written() + u64::from(contiguous);
        Ok(u32::try_from(written).unwrap_or(u32::MAX))
    }

    fn read(&mut self, sector: u64, data: &mut Writer<'_>) -> Result<(), Status> {
        if !data.remaining().is_multiple_of(SECTOR) {
            return Err(Status::IoError);
        }
        let mut at = self.range(sector, data.remaining())?;
        data.fill_from(&mut self.bounce, |part| {
            self.backend.read(at, part)?;
            at += part.len() as u64;
            Ok(())
        })
    }
    fn write(&mut self, sector: u64, data: &mut Reader<'_>) -> Result<(), Status> {
        self.writable()?;
        if !data.remaining().is_multiple_of(SECTOR) {
            return Err(Status::IoError);
        }
        let mut at = self.range(sector, data.remaining())?;
        data.drain(&mut self.bounce, |part| {
            self.backend.write(at, part)?;
            at += part.len() as u64;
            Ok::<_, Status>(())
        })?;
        self.wrote()
    }

    /// Discard and write-zeroes: a list of ranges. All are checked before any is touched.
    fn ranges(&mut self, zero: bool, list: &Reader<'_>) -> Result<(), Status> {
        let (wanted, max, max_sectors) = match zero {
            true => (feature::WRITE_ZEROES, MAX_ZEROES, MAX_ZERO_SECTORS),
            false => (feature::DISCARD, MAX_DISCARDS, MAX_DISCARD_SECTORS),
        };
        if self.features & wanted == 0 {
            return Err(Status::Unsupported);
        }
        self.writable()?;
        let bytes = list.remaining();
        if bytes == 0 || !bytes.is_multiple_of(16) || bytes / 16 > u64::from(max) {
            return Err(Status::IoError);
        }
        let mut ranges = Vec::new();
        let mut list = list.clone();
        while let Some(range) = list.read_array::<16>() {
            let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = range;
            let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
            let count = u32::from_le_bytes([n0, n1, n2, n3]);
            let flags = u32::from_le_bytes(flags);
            // 5.2.6.2: only write-zeroes knows a flag, "unmap".
            if flags & !u32::from(zero) != 0 {
                return Err(Status::Unsupported);
            }
            if count > max_sectors {
                return Err(Status::IoError);
            }
            let len = u64::from(count) * SECTOR;
            ranges.push((self.range(sector, len)?, len, flags & 1 != 0));
        }
        for (at, len, unmap) in ranges {
            match zero {
                true => {
                    self.zeroed += len;
                    self.backend.write_zeroes(at, len, unmap)?;
                }
                false => self.backend.discard(at, len)?,
            }
        }
        self.wrote()
    }
}

impl VirtioDevice for Blk {
    fn device_type(&self) -> DeviceType {
        DeviceType::Blk
    }
    fn features(&self) -> u64 {
        let always = feature::SEG_MAX | feature::BLK_SIZE | feature::TOPOLOGY | feature::FLUSH;
        always
            | match self.backend.read_only() {
                true => feature::RO,
                false => feature::CONFIG_WCE | feature::DISCARD | feature::WRITE_ZEROES,
            }
    }
    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }
    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut config = Vec::with_capacity(60);
        let mut word = |value: u32| config.extend(value.to_le_bytes());
        let sectors = self.sectors();
        word(sectors as u32);
        word((sectors >> 32) as u32);
        word(0); // size_max
        word(u32::from(QUEUE_SIZE) - 2); // seg_max: all but the header and the status
        word(0); // geometry
        word(SECTOR as u32);
        word(3 | 8 << 16); // topology: a physical block, and the least good transfer, is 2^3 sectors
        word(0); // no best size
        word(u32::from(self.writeback)); // writeback; one queue follows by its absence
        word(MAX_DISCARD_SECTORS);
        word(MAX_DISCARDS);
        word(1); // discard alignment, in sectors
        word(MAX_ZERO_SECTORS);
        word(MAX_ZEROES);
        word(1); // write-zeroes may unmap
        read_config_bytes(&config, offset, into);
    }
    fn write_config(&mut self, offset: u64, from: &[u8]) {
        const WRITEBACK: u64 = 32;
        let at = WRITEBACK
            .checked_sub(offset)
            .map(|at| from.get(at as usize));
        if let Some(Some(byte)) = at
            && self.features & feature::CONFIG_WCE != 0
        {
            self.writeback = *byte & 1 != 0;
        }
    }
    fn negotiated(&mut self, features: u64) {
        self.features = features;
        // 5.2.5.2: a driver that cannot flush gets no cache.
        self.writeback = features & feature::FLUSH != 0;
    }
    fn notify(&mut self, index: usize, io: &mut Io<'_>) -> Result<(), QueueError> {
        io.serve_weighed(index, |ram, chain| {
            self.zeroed = 0;
            Ok((self.handle(ram, chain)?, self.zeroed))
        })
    }
    fn reset(&mut self) {
        self.features = 0;
        self.writeback = true;
    }
    fn save(&self) -> Vec<u8> {
        encode(&State {
            sectors: self.sectors(),
            read_only: self.backend.read_only(),
            writeback: self.writeback,
        })
    }
    fn restore(&mut self, bytes: &[u8], features: u64) -> Result<(), PersistError> {
        const PART: &str = "a disk";
        let state: State = decode(PART, bytes)?;
        if state.sectors != self.sectors() || state.read_only != self.backend.read_only() {
            return Err(PersistError::Mismatch {
                part: PART,
                reason: "the disk behind it has another size, or is read-only now".to_string(),
            });
        }
        self.features = features;
        self.writeback = state.writeback;
        Ok(())
    }
}
