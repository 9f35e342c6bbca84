//! The real machine's virtio devices: disks, network cards, entropy. `virtio-drivers` drives
//! them; here is what it needs of the machine, and what its users must promise it.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

use ringer_machine::backend::{BackendError, BackendResult, BlockBackend};
use virtio_drivers::device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use super::csr;
use super::devices::Registers;

/// Offsets of registers (virtio 1.2, 4.2.2).
const DEVICE_ID: usize = 0x08;
const QUEUE_NOTIFY: usize = 0x50;
/// Looks at a device that takes its time before it is told again that there is work.
const PATIENCE: u32 = 1 << 20;

/// Memory for rings: the monitor's heap. It runs untranslated, so a pointer is an address that
/// devices understand.
struct Memory;

fn pages(count: usize) -> Option<Layout> {
    Layout::from_size_align(count.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}

// SAFETY: what is given is fresh, zeroed, page-aligned and belongs to nobody else until it is
// given back; devices find everything at the address that the pointer has.
unsafe impl Hal for Memory {
    fn dma_alloc(count: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let Some(layout) = pages(count).filter(|layout| layout.size() > 0) else {
            return (0, NonNull::dangling());
        };
        // SAFETY: the layout is not empty.
        match NonNull::new(unsafe { alloc_zeroed(layout) }) {
            Some(memory) => (memory.as_ptr() as PhysAddr, memory),
            None => (0, NonNull::dangling()),
        }
    }
    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, count: usize) -> i32 {
        if let Some(layout) = pages(count) {
            // SAFETY: it was allocated above with this layout, as the caller promises.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
        0
    }
    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        // Asked for devices on PCI only, of which none is driven.
        NonNull::new(address as *mut u8).unwrap_or(NonNull::dangling())
    }
    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }
    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// The place of a virtio device, or of none.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Where it is.
    pub registers: Registers,
    /// Its interrupt.
    pub interrupt: Option<u32>,
}

impl Slot {
    /// Whether a device of this type is there.
    fn holds(&self, wanted: DeviceType) -> bool {
        self.registers.read32(DEVICE_ID) == wanted as u32
    }
    fn transport(&self) -> Option<MmioTransport<'static>> {
        let (start, len) = self.registers.range();
        let header = NonNull::new(start as *mut VirtIOHeader)?;
        // SAFETY: `Registers` are a device's, and stay: the device tree says that this one
        // speaks virtio. Each slot is driven once.
        unsafe { MmioTransport::new(header, len) }.ok()
    }
    /// Says that queue `queue` has work. The driver does so only if the device asks for that; it
    /// looks without a fence after its own store, so that both may miss what the other wrote.
    fn tell(&self, queue: u16) {
        csr::fence_all();
        self.registers.write32(QUEUE_NOTIFY, queue.into());
    }
}

/// The slots with disks, in the order of their addresses.
pub fn disks(slots: &[Slot]) -> impl Iterator<Item = &Slot> {
    slots.iter().filter(|slot| slot.holds(DeviceType::Block))
}

/// The slots with network cards, in the order of their addresses.
pub fn cards(slots: &[Slot]) -> impl Iterator<Item = &Slot> {
    slots.iter().filter(|slot| slot.holds(DeviceType::Network))
}

/// Fills `into` with random bytes of the machine; returns how many there are. The machine may
/// have none.
pub fn random(slots: &[Slot], into: &mut [u8]) -> usize {
    let slot = slots
        .iter()
        .find(|slot| slot.holds(DeviceType::EntropySource));
    let source = slot.and_then(Slot::transport);
    match source.map(VirtIORng::<Memory, _>::new) {
        Some(Ok(mut source)) => source.request_entropy(into).unwrap_or(0).min(into.len()),
        _ => 0,
    }
}

/// A disk of the machine. A request is waited for.
pub struct HostDisk {
    slot: Slot,
    driver: VirtIOBlk<Memory, MmioTransport<'static>>,
}

impl HostDisk {
    /// Starts the disk in `slot`.
    pub fn start(slot: &Slot) -> Option<Self> {
        let mut driver = VirtIOBlk::new(slot.transport()?).ok()?;
        driver.disable_interrupts();
        Some(Self {
            slot: *slot,
            driver,
        })
    }
    fn wait(&mut self) -> Option<u16> {
        let mut looks: u32 = 0;
        loop {
            let token = self.driver.peek_used();
            if token.is_some() {
                return token;
            }
            looks += 1;
            if looks == PATIENCE {
                self.slot.tell(0);
                looks = 0;
            }
            core::hint::spin_loop();
        }
    }
    fn sector(offset: u64, len: usize) -> BackendResult<usize> {
        const SECTOR: u64 = SECTOR_SIZE as u64;
        let whole = offset.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR_SIZE);
        if !whole || len == 0 {
            return Err(BackendError);
        }
        usize::try_from(offset / SECTOR).map_err(|_| BackendError)
    }
}

impl BlockBackend for HostDisk {
    fn len(&self) -> u64 {
        self.driver.capacity().saturating_mul(SECTOR_SIZE as u64)
    }
    fn read_only(&self) -> bool {
        self.driver.readonly()
    }
    fn read(&mut self, offset: u64, into: &mut [u8]) -> BackendResult {
        let sector = Self::sector(offset, into.len())?;
        let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
        // SAFETY: request, buffer and response stay where they are and are not touched until
        // the device has used them, which is waited for.
        let begun =
            unsafe { (self.driver).read_blocks_nb(sector, &mut request, into, &mut response) };
        begun.map_err(|_| BackendError)?;
        let token = self.wait().ok_or(BackendError)?;
        // SAFETY: there is one request at a time, so these are its buffers.
        let done =
            unsafe { (self.driver).complete_read_blocks(token, &request, into, &mut response) };
        done.map_err(|_| BackendError)
    }
    fn write(&mut self, offset: u64, from: &[u8]) -> BackendResult {
        let sector = Self::sector(offset, from.len())?;
        let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
        // SAFETY: as in `read`.
        let begun =
            unsafe { (self.driver).write_blocks_nb(sector, &mut request, from, &mut response) };
        begun.map_err(|_| BackendError)?;
        let token = self.wait().ok_or(BackendError)?;
        // SAFETY: as in `read`.
        let done =
            unsafe { (self.driver).complete_write_blocks(token, &request, from, &mut response) };
        done.map_err(|_| BackendError)
    }
    fn flush(&mut self) -> BackendResult {
        self.driver.flush().map_err(|_| BackendError)
    }
    fn discard(&mut self, _offset: u64, _len: u64) -> BackendResult {
        // The range may read as it did.
        Ok(())
    }
    fn write_zeroes(&mut self, offset: u64, len: u64, _may_unmap: bool) -> BackendResult {
        static ZEROES: [u8; 64 << 10] = [0; 64 << 10];
        let end = offset.checked_add(len).ok_or(BackendError)?;
        let mut at = offset;
        while at < end {
            let count = (end - at).min(ZEROES.len() as u64);
            let zeroes = ZEROES.get(..count as usize).ok_or(BackendError)?;
            self.write(at, zeroes)?;
            at += count;
        }
        Ok(())
    }
}

const RING: usize = 64;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Room for a frame of the usual largest size, with the device's header.
const BUFFER: usize = 2048;

type Buffer = Box<[u8; BUFFER]>;

/// A network card of the machine.
pub struct HostCard {
    slot: Slot,
    driver: VirtIONetRaw<Memory, MmioTransport<'static>, RING>,
    /// Buffers with the device, by the tokens that the driver gave for them.
    receiving: [Option<Buffer>; RING],
    /// With the length of what is sent.
    sending: [Option<(Buffer, usize)>; RING],
    /// Buffers to send with.
    free: Vec<Buffer>,
    /// Whether frames were queued and the device was not told for certain.
    untold: bool,
}

fn buffer() -> Buffer {
    Box::new([0; BUFFER])
}

impl HostCard {
    /// Starts the card in `slot`.
    pub fn start(slot: &Slot) -> Option<Self> {
        let driver = VirtIONetRaw::new(slot.transport()?).ok()?;
        let mut card = Self {
            slot: *slot,
            driver,
            receiving: [const { None }; RING],
            sending: [const { None }; RING],
            free: (0..RING).map(|_| buffer()).collect(),
            untold: false,
        };
        for _ in 0..RING {
            card.offer(buffer());
        }
        card.slot.tell(RECEIVE);
        Some(card)
    }
    /// Its interrupt.
    pub fn interrupt(&self) -> Option<u32> {
        self.slot.interrupt
    }
    /// It does not interrupt any more for what it has said so far.
    pub fn acknowledge(&mut self) {
        self.driver.ack_interrupt();
    }
    /// Gives the device a buffer to receive into.
    fn offer(&mut self, mut buffer: Buffer) {
        // SAFETY: the buffer is kept in `receiving` untouched until the device is done with it.
        // Moving a box does not move what is in it.
        if let Ok(token) = unsafe { self.driver.receive_begin(&mut buffer[..]) }
            && let Some(place) = self.receiving.get_mut(usize::from(token))
        {
            *place = Some(buffer);
        }
    }
    /// Takes the next frame that came in, if there is one; returns its length. A frame larger
    /// than `into` has length 0.
    pub fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let token = self.driver.poll_receive()?;
        let place = self.receiving.get_mut(usize::from(token))?;
        let mut buffer = place.take()?;
        // SAFETY: it is the buffer for which the driver gave this token.
        let done = unsafe { self.driver.receive_complete(token, &mut buffer[..]) };
        let frame = done
            .ok()
            .and_then(|(start, len)| buffer.get(start..start.checked_add(len)?));
        let to = frame.and_then(|frame| Some((into.get_mut(..frame.len())?, frame)));
        let len = to.map_or(0, |(to, frame)| {
            to.copy_from_slice(frame);
            frame.len()
        });
        self.offer(buffer);
        Some(len)
    }
    /// Whether there is room to send a frame now.
    pub fn can_send(&mut self) -> bool {
        while let Some(token) = self.driver.poll_transmit() {
            let place = self.sending.get_mut(usize::from(token));
            let Some((buffer, len)) = place.and_then(Option::take) else {
                break;
            };
            // SAFETY: it is the part of the buffer for which the driver gave this token.
            let _ = unsafe { self.driver.transmit_complete(token, &buffer[..len]) };
            self.free.push(buffer);
        }
        !self.free.is_empty()
    }
    /// Sends a frame; one that is too large is dropped, and so is one without room.
    pub fn send(&mut self, frame: &[u8]) {
        if !self.can_send() {
            return;
        }
        let Some(mut buffer) = self.free.pop() else {
            return;
        };
        let header = self.driver.fill_buffer_header(&mut buffer[..]);
        let end = header.unwrap_or(BUFFER) + frame.len();
        if let Some(place) = buffer.get_mut(end.saturating_sub(frame.len())..end) {
            place.copy_from_slice(frame);
            // SAFETY: the buffer is kept in `sending` untouched until the device is done with it.
            if let Ok(token) = unsafe { self.driver.transmit_begin(&buffer[..end]) }
                && let Some(place) = self.sending.get_mut(usize::from(token))
            {
                *place = Some((buffer, end));
                self.untold = true;
            }
        } else {
            self.free.push(buffer);
        }
    }
    /// Makes sure that the device knows of all that was sent and offered.
    pub fn tell(&mut self) {
        if core::mem::take(&mut self.untold) {
            self.slot.tell(TRANSMIT);
        }
        // The driver says that it wants an interrupt for the next frame, and the device may not
        // have seen that before it used one: whoever looks next must see it then.
        csr::fence_all();
    }
    /// Whether a frame has come in.
    pub fn has_frame(&self) -> bool {
        self.driver.poll_receive().is_some()
    }
}
