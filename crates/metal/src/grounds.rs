//! What a guest has of the real machine: its memory and its parts of disks. All guests are given
//! theirs before the first one is built.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_bundle::{Disk, Guest as Description};
use ringer_hart::{PAGE_SIZE, Ram};
use ringer_machine::backend::{BlockBackend, ImageDisk, OverlayDisk};
use ringer_machine::memory_map::RAM_BASE;
use ringer_metal::disk_range::{self, DiskRange, Extent, SharedDisk};
use ringer_metal::rooms;
use ringer_shadow::TablePool;
use spin::Mutex;

use crate::console::Console;
use crate::hardware::memory::PhysicalMemory;
use crate::hardware::protection::Estate;
use crate::hardware::virtio::{self, HostDisk, Slot};

/// Pages of shadow tables for each virtual hart of a guest with this much memory.
fn tables_for(memory: u64) -> usize {
    ((memory >> 20) as usize).clamp(128, 2048)
}

/// A guest's own.
pub struct Grounds {
    /// Its RAM.
    pub ram: Ram,
    /// Memory for its harts' shadow tables.
    pub pools: Vec<TablePool>,
    /// Both, for who guards them.
    pub estate: Estate,
    /// What is behind its disks.
    pub disks: Vec<Box<dyn BlockBackend>>,
}

/// Gives all guests what they ask for.
pub fn share_out(
    descriptions: &[Description<'static>],
    memory: &mut PhysicalMemory,
    slots: &[Slot],
    console: &Console,
) -> Result<Vec<Grounds>, String> {
    let host = host_disks(descriptions, slots)?;
    let mut grounds = descriptions
        .iter()
        .map(|guest| {
            Grounds::new(guest, memory)
                .map_err(|error| format!("{} cannot start: {error}", guest.name))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let writable = |disk: &&Disk<'_>| matches!(disk, Disk::Ram { writable: true, .. });
    let disks = descriptions.iter().flat_map(|guest| &guest.disks);
    let sizes: Vec<u64> = disks.filter(writable).map(Disk::size).collect();
    let mut rooms = rooms::share_out(&sizes, memory.total()).into_iter();
    for (grounds, guest) in grounds.iter_mut().zip(descriptions) {
        for (number, disk) in guest.disks.iter().enumerate() {
            let backend: Box<dyn BlockBackend> = match *disk {
                Disk::Ram {
                    content,
                    writable: false,
                } => Box::new(ImageDisk::new(content)),
                Disk::Ram { content, .. } => {
                    let room = memory.room(rooms.next().unwrap_or(0));
                    if room.len() < content.len() {
                        let (some, all) = (room.len() >> 20, content.len() >> 20);
                        console.say(format_args!(
                            "ringer: {}: there is memory for {some} of the {all} MiB of disk \
                             {number} to be written\n",
                            guest.name
                        ));
                    }
                    Box::new(OverlayDisk::new(content, room))
                }
                Disk::Host { .. } => {
                    let claim = disk_range::claim(guest.name, number, disk);
                    let range = claim.and_then(|claim| DiskRange::new(&host, &claim));
                    Box::new(range.ok_or("a disk of the host is gone")?)
                }
            };
            grounds.disks.push(backend);
        }
    }
    Ok(grounds)
}

/// The host's disks, if guests ask for any, once it is certain that they can have what they ask.
fn host_disks(
    descriptions: &[Description<'static>],
    slots: &[Slot],
) -> Result<Vec<SharedDisk<HostDisk>>, String> {
    let claims = disk_range::claims(descriptions);
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut disks = Vec::new();
    for (number, slot) in virtio::disks(slots).enumerate() {
        let disk = HostDisk::start(slot);
        disks.push(disk.ok_or_else(|| format!("the host's disk {number} does not start"))?);
    }
    let extent = |disk: &HostDisk| Extent {
        size: disk.len(),
        read_only: disk.read_only(),
    };
    let extents: Vec<Extent> = disks.iter().map(extent).collect();
    disk_range::check(&extents, &claims).map_err(|error| error.to_string())?;
    let shared = disks.into_iter().map(|disk| Arc::new(Mutex::new(disk)));
    Ok(shared.collect())
}

impl Grounds {
    /// The guest's memory; it has no disks yet.
    fn new(guest: &Description<'_>, memory: &mut PhysicalMemory) -> Result<Self, String> {
        let (harts, pages) = (guest.harts, tables_for(guest.memory));
        let ram = memory.guest_ram(RAM_BASE, guest.memory);
        let pools = memory.table_pools(harts, pages);
        let (Some(ram), Some(pools)) = (ram, pools) else {
            let (wanted, left) = (guest.memory >> 20, memory.largest() >> 20);
            return Err(format!(
                "it wants {wanted} MiB of memory in one piece, and {left} MiB are left"
            ));
        };
        let pools: Vec<TablePool> = pools.collect();
        let tables = pools.first().map_or(0, |pool| pool.base().0);
        let estate = Estate {
            ram: (ram.host().as_ptr() as u64, ram.len()),
            tables: (tables, (harts * pages) as u64 * PAGE_SIZE),
        };
        Ok(Self {
            ram,
            pools,
            estate,
            disks: Vec::new(),
        })
    }
}
