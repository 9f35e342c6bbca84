//! A trace as text: a row for each event.

use std::io::{self, Write};

use ringer_hart::cause::{Cause, interrupt_name};

use super::event::{Event, What};
use super::file::TraceFile;
use super::{mode, seconds};
use crate::args::TraceFilter;

/// Writes the rows that the filter takes.
pub fn write(trace: &mut TraceFile, filter: &TraceFilter, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>13}  {:>4}  {:>14}  {:<10} what",
        "seconds", "hart", "instructions", "event"
    )?;
    while let Some(event) = trace.next() {
        if filter.takes(&event) {
            writeln!(
                out,
                "{:>13.7}  {:>4}  {:>14}  {:<10} {}",
                seconds(event.time),
                event.hart,
                event.instructions,
                name(&event.what),
                describe(&event, trace)
            )?;
        }
    }
    Ok(())
}

/// The event in one word.
pub fn name(what: &What) -> &'static str {
    match what {
        What::Trap { .. } => "trap",
        What::Interrupt { .. } => "interrupt",
        What::Load { .. } => "load",
        What::Store { .. } => "store",
        What::Satp { .. } => "satp",
        What::Fence { .. } => "fence",
        What::Sbi { .. } => "sbi",
        What::Runs => "runs",
        What::Waits => "waits",
        What::Stops => "stops",
    }
}

/// The rest of it.
pub fn describe(event: &Event, trace: &TraceFile) -> String {
    match event.what {
        What::Trap {
            cause,
            epc,
            tval,
            from,
            to,
        } => format!(
            "{} at {epc:#x}, value {tval:#x}, {} to {}",
            Cause::name(cause),
            mode(from),
            mode(to)
        ),
        What::Interrupt {
            cause,
            epc,
            from,
            to,
        } => format!(
            "{} before {epc:#x}, {} to {}",
            interrupt_name(cause),
            mode(from),
            mode(to)
        ),
        What::Load {
            device,
            offset,
            bytes,
            value,
        }
        | What::Store {
            device,
            offset,
            bytes,
            value,
        } => format!(
            "{}+{offset:#x}, {bytes} bytes: {value:#x}",
            trace.device(device)
        ),
        What::Satp { value } => format!("{value:#x}"),
        What::Fence { va, asid } => {
            let all = |word: u64, what: &str| match word {
                u64::MAX => format!("all {what}"),
                word => format!("{word:#x}"),
            };
            format!("{} of {}", all(va, "addresses"), all(asid, "spaces"))
        }
        What::Sbi {
            extension,
            function,
            a0,
            a1,
            error,
        } => format!(
            "{} function {function}, arguments {a0:#x} {a1:#x}: {}",
            sbi_extension(extension),
            error as i64
        ),
        What::Runs | What::Waits | What::Stops => String::new(),
    }
}

/// An SBI extension's name: new ones have letters for numbers.
pub fn sbi_extension(number: u64) -> String {
    let bytes = (number as u32).to_be_bytes();
    let letters: String = bytes
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .map(char::from)
        .collect();
    match number {
        0x10 => "BASE".to_string(),
        _ if number >> 32 == 0
            && letters.len() > 1
            && letters.chars().all(|letter| letter.is_ascii_alphanumeric()) =>
        {
            letters
        }
        _ => format!("{number:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_have_names() {
        assert_eq!(sbi_extension(0x5449_4d45), "TIME");
        assert_eq!(sbi_extension(0x73_5049), "sPI");
        assert_eq!(sbi_extension(0x10), "BASE");
        assert_eq!(sbi_extension(1), "0x1");
        assert_eq!(sbi_extension(u64::MAX), "0xffffffffffffffff");
    }
}
