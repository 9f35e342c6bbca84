//! ELF programs: kernels with symbols, firmware, and test programs that talk by HTIF.

use ::elf::ElfBytes;
use ::elf::abi;
use ::elf::endian::LittleEndian;

use super::Refusal;

/// A program made of segments.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub struct ElfImage {
    /// What goes where, by physical address.
    #[n(0)]
    pub segments: Vec<Segment>,
    /// The physical address of the first instruction.
    #[n(1)]
    pub entry: u64,
    /// Whether it may be moved as a whole, by a multiple of the page size.
    #[n(2)]
    pub relocatable: bool,
    /// The symbols by which test programs talk to a simulator.
    #[n(3)]
    pub symbols: Symbols,
}

impl ElfImage {
    /// Whether its segments together need no more than `limit` bytes, as [`parse`] ensures.
    pub fn fits(&self, limit: u64) -> bool {
        self.segments.len() <= MAX_SEGMENTS
            && self
                .segments
                .iter()
                .try_fold(limit, |room, segment| room.checked_sub(segment.size))
                .is_some()
    }
}

/// One loadable piece.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
pub struct Segment {
    /// The physical address.
    #[n(0)]
    pub address: u64,
    /// What the file holds; the rest is zero.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// The size in memory, at least that of `bytes`.
    #[n(2)]
    pub size: u64,
}

/// Physical addresses of well-known symbols.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, minicbor::Encode, minicbor::Decode)]
pub struct Symbols {
    /// HTIF, from the program.
    #[n(0)]
    pub tohost: Option<u64>,
    /// HTIF, to the program.
    #[n(1)]
    pub fromhost: Option<u64>,
    /// Start of the conformance signature.
    #[n(2)]
    pub begin_signature: Option<u64>,
    /// End of the conformance signature.
    #[n(3)]
    pub end_signature: Option<u64>,
}

/// More segments than any program has.
const MAX_SEGMENTS: usize = 256;

/// Whether this is any ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x7f, b'E', b'L', b'F'])
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        abi::EM_386 => "32-bit x86",
        abi::EM_X86_64 => "x86-64",
        abi::EM_ARM => "32-bit ARM",
        abi::EM_AARCH64 => "64-bit ARM",
        abi::EM_PPC64 => "64-bit PowerPC",
        abi::EM_S390 => "s390",
        abi::EM_MIPS => "MIPS",
        258 => "LoongArch",
        other => return format!("machine number {other}"),
    };
    name.to_string()
}

/// Reads an ELF file, trusting nothing in it; its content may have up to `limit` bytes.
pub fn parse(bytes: &[u8], limit: u64) -> Result<ElfImage, Refusal> {
    let damaged = |error: &dyn std::fmt::Display| format!("is a damaged ELF file ({error})");
    match bytes.get(4) {
        Some(2) => {}
        Some(1) => {
            return Err(
                "is a 32-bit ELF program; the guest's harts are 64-bit, so build for riscv64"
                    .to_string(),
            );
        }
        _ => return Err(damaged(&"no valid class")),
    }
    match bytes.get(5) {
        Some(1) => {}
        Some(2) => return Err("is a big-endian ELF program; RISC-V is little-endian".to_string()),
        _ => return Err(damaged(&"no valid byte order")),
    }
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|e| damaged(&e))?;
    let header = &file.ehdr;
    if header.e_machine != abi::EM_RISCV {
        return Err(format!(
            "is a program for another architecture ({}); Ringer runs riscv64",
            machine_name(header.e_machine)
        ));
    }
    if header.e_type == abi::ET_REL {
        return Err("is an object file; link it into a program first".to_string());
    }
    let table = file
        .segments()
        .ok_or_else(|| damaged(&"it has no program headers"))?;
    let mut segments = Vec::new();
    let mut room = limit;
    // Physical minus virtual, for the entry and the symbols.
    let mut map: Vec<(u64, u64, u64)> = Vec::new();
    for program in table
        .iter()
        .filter(|p| p.p_type == abi::PT_LOAD && p.p_memsz > 0)
    {
        if segments.len() == MAX_SEGMENTS {
            return Err(damaged(&"too many segments"));
        }
        if program.p_filesz > program.p_memsz
            || program.p_paddr.checked_add(program.p_memsz).is_none()
            || program.p_vaddr.checked_add(program.p_memsz - 1).is_none()
        {
            return Err(damaged(&"a segment has an impossible size"));
        }
        let data = file
            .segment_data(&program)
            .map_err(|_| damaged(&"it is truncated: a segment ends beyond the file's end"))?;
        // Many segments may name the same bytes or places; all that is copied and cleared must
        // not exceed RAM.
        room = room
            .checked_sub(program.p_memsz)
            .ok_or("holds more than fits into the guest's RAM; give more with --memory")?;
        segments.push(Segment {
            address: program.p_paddr,
            bytes: data.to_vec(),
            size: program.p_memsz,
        });
        map.push((program.p_vaddr, program.p_memsz, program.p_paddr));
    }
    if segments.is_empty() {
        return Err("is an ELF file with nothing to load".to_string());
    }
    let physical = |address: u64| {
        map.iter()
            .find(|&&(virt, size, _)| address.wrapping_sub(virt) < size)
            .map(|&(virt, _, phys)| phys.wrapping_add(address.wrapping_sub(virt)))
    };
    let entry = physical(header.e_entry)
        .ok_or_else(|| damaged(&"its entry point is outside its segments"))?;
    Ok(ElfImage {
        segments,
        entry,
        relocatable: header.e_type == abi::ET_DYN,
        symbols: symbols(&file, physical),
    })
}

/// Looks the well-known symbols up; a damaged or stripped symbol table is as none.
fn symbols(file: &ElfBytes<'_, LittleEndian>, physical: impl Fn(u64) -> Option<u64>) -> Symbols {
    let mut found = Symbols::default();
    let Ok(Some((table, names))) = file.symbol_table() else {
        return found;
    };
    for symbol in table.iter() {
        let Ok(name) = names.get(symbol.st_name as usize) else {
            continue;
        };
        let slot = match name {
            "tohost" => &mut found.tohost,
            "fromhost" => &mut found.fromhost,
            "begin_signature" => &mut found.begin_signature,
            "end_signature" => &mut found.end_signature,
            _ => continue,
        };
        // `end_signature` may be the very end of a segment, which is in no segment.
        let address = physical(symbol.st_value)
            .or_else(|| physical(symbol.st_value.wrapping_sub(1)).map(|a| a.wrapping_add(1)));
        *slot = slot.or(address);
    }
    found
}
