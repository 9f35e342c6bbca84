//! Disassembles encodings: one hexadecimal number per line of standard input. What is no
//! instruction is printed as `unknown`.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let digits = line.trim().trim_start_matches("0x");
        let insn = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(ringer_isa::decode);
        match insn {
            Some(insn) => writeln!(out, "{insn}")?,
            None => writeln!(out, "unknown")?,
        }
    }
    Ok(())
}
