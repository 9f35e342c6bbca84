//! An ELF file that holds nothing but symbols: each run of code or data in the kernel is a section
//! without content, for gdb takes what a symbol is from the section that it is in.

use super::Symbol;

const HEADER: u64 = 64;
const SECTION_HEADER: u64 = 64;
/// An entry of the symbol table.
const ENTRY: u64 = 24;
/// Nobody says where the last function before a gap ends; it is not shown for more than this.
const MOST_OF_THE_LAST: u64 = 4096;
/// Sections beyond need another format; a kernel has some forty.
const MOST_SECTIONS: usize = 0xff00 - 4;

mod kind {
    pub const SYMBOLS: u32 = 2;
    pub const NAMES: u32 = 3;
    pub const WITHOUT_CONTENT: u32 = 8;
}
mod flag {
    pub const WRITABLE: u64 = 1;
    pub const IN_MEMORY: u64 = 2;
    pub const CODE: u64 = 4;
}
const EXECUTABLE: u16 = 2;
const RISCV: u16 = 243;
/// Compressed instructions; floats are passed in registers for doubles.
const RV64GC: u32 = 5;

/// Symbols that follow each other, all code or all data.
struct Run<'a> {
    symbols: &'a [Symbol],
    end: u64,
}

impl Run<'_> {
    fn start(&self) -> u64 {
        self.symbols.first().map_or(0, |symbol| symbol.address)
    }
    fn is_code(&self) -> bool {
        self.symbols.first().is_some_and(|symbol| symbol.is_code)
    }
    /// How far a symbol goes: to the next address that has a name. By halves, as a list may have
    /// any number of names for one address.
    fn size(&self, symbol: &Symbol) -> u64 {
        let start = symbol.address;
        let behind = self.symbols.partition_point(|other| other.address <= start);
        let next = self
            .symbols
            .get(behind)
            .map_or(self.end, |next| next.address);
        next.saturating_sub(start)
    }
}

/// The name of a section, and where it is in the table of names.
#[derive(Default)]
struct Names(Vec<u8>);

impl Names {
    fn add(&mut self, name: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend(name.as_bytes());
        self.0.push(0);
        at
    }
}

/// The file for these symbols, which are sorted by address.
pub fn write(symbols: &[Symbol]) -> Vec<u8> {
    let runs = runs(symbols);
    let mut names = Names::default();
    names.add("");
    let (mut local, mut global) = (vec![0; ENTRY as usize], Vec::new());
    for (number, run) in runs.iter().enumerate() {
        for symbol in run.symbols {
            let table = if symbol.is_global {
                &mut global
            } else {
                &mut local
            };
            table.extend(names.add(&symbol.name).to_le_bytes());
            let sort = if symbol.is_code { 2 } else { 1 };
            table.extend([u8::from(symbol.is_global) << 4 | sort, 0]);
            table.extend((number as u16 + 1).to_le_bytes());
            table.extend(symbol.address.to_le_bytes());
            table.extend(run.size(symbol).to_le_bytes());
        }
    }
    let locals = local.len() as u64 / ENTRY;
    let table = [local, global].concat();

    // Null, the runs, the symbols, their names, the sections' names.
    let sections = runs.len() as u16 + 4;
    let mut section_names = Names::default();
    section_names.add("");
    let (text, data) = (section_names.add(".text"), section_names.add(".data"));
    let symtab = section_names.add(".symtab");
    let (strtab, shstrtab) = (section_names.add(".strtab"), section_names.add(".shstrtab"));
    let content = HEADER + u64::from(sections) * SECTION_HEADER;
    let names_at = content + table.len() as u64;
    let section_names_at = names_at + names.0.len() as u64;

    let mut file = header(sections);
    file.extend([0; SECTION_HEADER as usize]);
    for run in &runs {
        let start = run.start();
        let (name, flags) = match run.is_code() {
            true => (text, flag::IN_MEMORY | flag::CODE),
            false => (data, flag::IN_MEMORY | flag::WRITABLE),
        };
        let header = SectionHeader {
            name,
            kind: kind::WITHOUT_CONTENT,
            flags,
            address: start,
            offset: content,
            size: run.end - start,
            ..SectionHeader::default()
        };
        header.put(&mut file);
    }
    let symbols = SectionHeader {
        name: symtab,
        kind: kind::SYMBOLS,
        offset: content,
        size: table.len() as u64,
        link: runs.len() as u32 + 2,
        info: locals as u32,
        entry: ENTRY,
        ..SectionHeader::default()
    };
    symbols.put(&mut file);
    for (name, offset, names) in [
        (strtab, names_at, &names),
        (shstrtab, section_names_at, &section_names),
    ] {
        let header = SectionHeader {
            name,
            kind: kind::NAMES,
            offset,
            size: names.0.len() as u64,
            ..SectionHeader::default()
        };
        header.put(&mut file);
    }
    file.extend(table);
    file.extend(names.0);
    file.extend(section_names.0);
    file
}

fn runs(symbols: &[Symbol]) -> Vec<Run<'_>> {
    let mut runs: Vec<_> = symbols
        .chunk_by(|a, b| a.is_code == b.is_code)
        .map(|symbols| Run { symbols, end: 0 })
        .take(MOST_SECTIONS)
        .collect();
    let mut next = None;
    for run in runs.iter_mut().rev() {
        let last = run.symbols.last().map_or(0, |symbol| symbol.address);
        let most = last.saturating_add(MOST_OF_THE_LAST);
        run.end = next.unwrap_or(most).min(most);
        next = Some(run.start());
    }
    runs
}

fn header(sections: u16) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(EXECUTABLE.to_le_bytes());
    file.extend(RISCV.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // No entry, no program headers.
    file.extend([0; 16]);
    file.extend(HEADER.to_le_bytes());
    file.extend(RV64GC.to_le_bytes());
    for half in [
        HEADER as u16,
        0,
        0,
        SECTION_HEADER as u16,
        sections,
        sections - 1,
    ] {
        file.extend(half.to_le_bytes());
    }
    file
}

#[derive(Default)]
struct SectionHeader {
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    entry: u64,
}

impl SectionHeader {
    fn put(&self, file: &mut Vec<u8>) {
        file.extend(self.name.to_le_bytes());
        file.extend(self.kind.to_le_bytes());
        for word in [self.flags, self.address, self.offset, self.size] {
            file.extend(word.to_le_bytes());
        }
        file.extend(self.link.to_le_bytes());
        file.extend(self.info.to_le_bytes());
        let alignment = 1_u64;
        file.extend(alignment.to_le_bytes());
        file.extend(self.entry.to_le_bytes());
    }
}
