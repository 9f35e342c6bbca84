//! `ringer symbols`: a running Linux kernel's own list of its symbols, /proc/kallsyms, becomes an
//! ELF file that gdb takes as the program. Distributions' kernels come without any, and their
//! packages of debug information are a thousand times as large.

mod elf;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

const EXAMPLES: &str = "\
Example:
  ringer test -- cat /proc/kallsyms > kallsyms
  ringer symbols kallsyms -o kernel.elf
  ringer run debian-busybox --gdb --gdb-wait
  gdb-multiarch kernel.elf -ex 'target remote :1234' -ex 'hbreak do_sys_openat2' -ex continue

The list must come from the same kernel, started the same way; modules lie elsewhere each time.
docs/DEBUGGING.md shows more.";

/// Stands for the standard input.
const STDIN: &str = "-";

/// Arguments of `ringer symbols`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SymbolsArgs {
    /// The guest's /proc/kallsyms, as its root user sees it; `-` is the standard input
    #[arg(value_name = "KALLSYMS")]
    list: PathBuf,
    /// Where the ELF file goes
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Why a list makes no symbols.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The file is something else.
    #[error("line {0} is not of /proc/kallsyms: it should be an address, a letter and a name")]
    Foreign(usize),
    /// Linux hides addresses from ordinary users.
    #[error(
        "all addresses are 0: read /proc/kallsyms as root, after `sysctl kernel.kptr_restrict=0` if need be"
    )]
    Hidden,
    /// There is nothing in it.
    #[error("there are no symbols in it")]
    Empty,
}

/// Something in the kernel that has a name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Symbol {
    address: u64,
    name: String,
    is_code: bool,
    /// Not only known in its own file.
    is_global: bool,
}

/// Runs the command; returns what to tell.
pub fn run(args: &SymbolsArgs) -> Result<String, Failure> {
    let name = match args.list == Path::new(STDIN) {
        true => "the standard input".to_string(),
        false => args.list.display().to_string(),
    };
    let text = read(&args.list)
        .map_err(|error| Failure::monitor(format_args!("cannot read {name}: {error}")))?;
    let symbols =
        parse(&text).map_err(|error| Failure::monitor(format_args!("{name}: {error}")))?;
    let output = args.output.display();
    fs::write(&args.output, elf::write(&symbols))
        .map_err(|error| Failure::monitor(format_args!("cannot write {output}: {error}")))?;
    let functions = symbols.iter().filter(|symbol| symbol.is_code).count();
    Ok(format!(
        "{output}: {functions} functions, {} other symbols\n",
        symbols.len() - functions
    ))
}

fn read(list: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if list == Path::new(STDIN) {
        io::stdin().read_to_end(&mut text)?;
        Ok(text)
    } else {
        fs::read(list)
    }
}

/// The symbols of a list, by address. Names need not be text: some of the kernel's are not.
fn parse(list: &[u8]) -> Result<Vec<Symbol>, ListError> {
    let mut symbols = Vec::new();
    let mut is_hidden = false;
    for (number, line) in list.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let symbol = Symbol::parse(line).ok_or(ListError::Foreign(number + 1))?;
        match symbol {
            Some(symbol) if symbol.address == 0 => is_hidden = true,
            Some(symbol) => symbols.push(symbol),
            None => {}
        }
    }
    if symbols.is_empty() {
        return Err(if is_hidden {
            ListError::Hidden
        } else {
            ListError::Empty
        });
    }
    // Of several at one place gdb shows a global one, and of those the first.
    symbols.sort_by_key(|symbol| (symbol.address, !symbol.is_global));
    Ok(symbols)
}

impl Symbol {
    /// Reads `ADDRESS LETTER NAME [MODULE]`. `Some(None)` is a symbol that is of no use to gdb.
    fn parse(line: &[u8]) -> Option<Option<Self>> {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split([' ', '\t']);
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let mut letters = words.next()?.chars();
        let (letter, None) = (letters.next()?, letters.next()) else {
            return None;
        };
        let name = words.next()?;
        let is_code = matches!(letter, 'T' | 't' | 'W' | 'w');
        let is_place = is_code || matches!(letter, 'B' | 'b' | 'D' | 'd' | 'R' | 'r' | 'V' | 'v');
        // Labels that the compiler made for itself, and marks of where instructions begin.
        let is_internal = name.starts_with(".L") || name.contains('$');
        Some((is_place && !is_internal).then(|| Self {
            address,
            name: name.to_string(),
            is_code,
            is_global: letter.is_ascii_uppercase(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"\
0000000000000000 A fixed_percpu_data
ffffffff80001000 t local
ffffffff80001000 T global
ffffffff80001000 t $xrv64i2p1
ffffffff80001004 t .L1\x022
ffffffff80000000 T _start
ffffffff80e00000 d words
ffffffff01e6b000 t vm_get_status\t[virtio_mmio]
";

    #[test]
    fn a_list_is_read_by_address_without_what_nobody_asks_for() {
        let symbols = parse(LIST).unwrap();
        let names: Vec<_> = symbols.iter().map(|symbol| symbol.name.as_str()).collect();
        let expected = ["vm_get_status", "_start", "global", "local", "words"];
        assert_eq!(names, expected);
        assert!(symbols.iter().all(|s| s.is_code == (s.name != "words")));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(parse(b""), Err(ListError::Empty));
        assert_eq!(parse(b"0 A nothing\n"), Err(ListError::Empty));
        let hidden = b"0000000000000000 T _start\n0000000000000000 t local\n";
        assert_eq!(parse(hidden), Err(ListError::Hidden));
        for foreign in ["x", "12", "12 T", "12 TT name", "zz T name", "\x7fELF"] {
            let list = format!("ffffffff80000000 T _start\n{foreign}\n");
            assert_eq!(
                parse(list.as_bytes()),
                Err(ListError::Foreign(2)),
                "{foreign}"
            );
        }
    }

    #[test]
    fn gdb_finds_all_in_the_file() {
        let symbols = parse(LIST).unwrap();
        let bytes = elf::write(&symbols);
        let file = ::elf::ElfBytes::<::elf::endian::LittleEndian>::minimal_parse(&bytes).unwrap();
        let (table, names) = file.symbol_table().unwrap().unwrap();
        let sections = file.section_headers().unwrap();
        let found: Vec<_> = table.iter().skip(1).collect();
        assert_eq!(found.len(), symbols.len());
        // Symbols known only in their file come first.
        let locals = found
            .iter()
            .position(|symbol| symbol.st_bind() == 1)
            .unwrap();
        assert!(
            found
                .iter()
                .skip(locals)
                .all(|symbol| symbol.st_bind() == 1)
        );
        for symbol in &symbols {
            let it = found
                .iter()
                .find(|it| names.get(it.st_name as usize).unwrap() == symbol.name)
                .unwrap();
            assert_eq!(it.st_value, symbol.address);
            assert_eq!(it.st_symtype() == ::elf::abi::STT_FUNC, symbol.is_code);
            let section = sections.get(it.st_shndx.into()).unwrap();
            assert_eq!(section.sh_type, ::elf::abi::SHT_NOBITS);
            let executable = section.sh_flags & u64::from(::elf::abi::SHF_EXECINSTR) != 0;
            assert_eq!(executable, symbol.is_code);
            let end = section.sh_addr + section.sh_size;
            assert!(section.sh_addr <= it.st_value && it.st_value + it.st_size <= end);
            assert!(it.st_size > 0);
        }
        let start = found.iter().find(|it| it.st_value == 0xffff_ffff_8000_0000);
        assert_eq!(start.unwrap().st_size, 0x1000);
        for (before, after) in sections.iter().zip(sections.iter().skip(1)) {
            assert!(before.sh_addr + before.sh_size <= after.sh_addr || after.sh_addr == 0);
        }
    }

    #[test]
    fn addresses_at_the_end_are_no_trouble() {
        let list = b"fffffffffffffffe T a\nffffffffffffffff t b\nffffffffffffffff d c\n";
        let bytes = elf::write(&parse(list).unwrap());
        assert!(bytes.starts_with(b"\x7fELF"));
    }
}
