//! Memory for gdb: as a hart's page tables have it, whatever they permit, or by physical address.
//! Devices are left alone: to read one may change it.

use ringer_hart::{Bus, GuestPhys, GuestVirt, Hart, PAGE_SIZE};
use ringer_machine::board::Board;
use ringer_machine::memory_map::ROM;

/// Memory seen from a hart, or from outside.
pub struct View<'a> {
    /// Whose memory.
    pub board: &'a Board,
    /// Whose page tables; `None` for physical addresses.
    pub hart: Option<&'a Hart>,
}

impl View<'_> {
    fn find(&self, address: u64) -> Option<GuestPhys> {
        match self.hart {
            None => Some(GuestPhys(address)),
            Some(hart) => {
                let context = hart.data_context();
                let found = hart.survey(self.board, GuestVirt(address), &context, |_| {})?;
                Some(found.translation.phys)
            }
        }
    }
    /// How many bytes could be read.
    pub fn read(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = address.wrapping_add(done as u64);
            let len = rest.len().min(to_page_end(at));
            let Some(part) = rest.get_mut(..len) else {
                break;
            };
            let read = self.find(at).and_then(|phys| self.read_part(phys, part));
            if read.is_none() {
                break;
            }
            done += len;
        }
        done
    }
    fn read_part(&self, phys: GuestPhys, into: &mut [u8]) -> Option<()> {
        if phys.0.wrapping_sub(ROM.base.0) >= ROM.len {
            return self.board.ram().read(phys, into);
        }
        for (at, byte) in (phys.0..).zip(into) {
            let parcel = self.board.fetch(GuestPhys(at & !1)).ok()?;
            *byte = parcel.to_le_bytes()[(at & 1) as usize];
        }
        Some(())
    }
    /// Writes all, or nothing.
    pub fn write(&self, address: u64, from: &[u8]) -> Option<()> {
        let ram = self.board.ram();
        let mut parts = Vec::new();
        let mut rest = from;
        let mut at = address;
        while !rest.is_empty() {
            let (part, later) = rest
                .split_at_checked(to_page_end(at))
                .unwrap_or((rest, &[]));
            let phys = self.find(at)?;
            ram.offset(phys, part.len() as u64)?;
            parts.push((phys, part));
            at = at.wrapping_add(part.len() as u64);
            rest = later;
        }
        parts
            .into_iter()
            .try_for_each(|(phys, part)| ram.write(phys, part))
    }
}

/// How many bytes of the page are left.
fn to_page_end(address: u64) -> usize {
    (PAGE_SIZE - address % PAGE_SIZE) as usize
}
