//! What is in a bundle, as a table for people.

use std::fmt::Write;
use std::path::Path;

use ringer_bundle::{Bundle, Disk, Guest, Placement, Program};

use crate::size::Size;

const HEADS: [&str; 8] = [
    "guest", "memory", "harts", "share", "starts", "initrd", "disks", "network",
];

/// The table, and a closing line with the size.
pub fn of(path: &Path, bundle: &Bundle<'_>) -> String {
    let mut rows = vec![HEADS.map(str::to_string)];
    rows.extend(bundle.guests.iter().map(row));
    let mut widths = [0; HEADS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let guests = match bundle.guests.len() {
        1 => "1 guest".to_string(),
        count => format!("{count} guests"),
    };
    let _ = writeln!(
        out,
        "{}: {guests}, {}",
        path.display(),
        Size(bundle.len as u64)
    );
    out
}

fn row(guest: &Guest<'_>) -> [String; HEADS.len()] {
    let program = |kind, program: &Option<Program<'_>>| {
        let program = program.as_ref()?;
        let bytes = program.segments.iter().map(|s| s.bytes.len() as u64).sum();
        let place = match program.placement {
            Placement::Movable { .. } => String::new(),
            Placement::Fixed { entry } => format!(" at {entry:#x}"),
        };
        Some(format!("{kind} {}{place}", Size(bytes)))
    };
    let programs = [
        program("bios", &guest.firmware),
        program("kernel", &guest.kernel),
    ];
    let initrd = guest
        .initrd
        .map(|bytes| Size(bytes.len() as u64).to_string());
    let disks = guest.disks.iter().map(disk);
    let ports = guest.ports.iter().enumerate().map(|(number, port)| {
        let bridged = if port.bridged { " bridged" } else { "" };
        let mac = guest.mac(number).map(|mac| mac.to_string());
        format!("{}{bridged} {}", port.switch, mac.unwrap_or_default())
    });
    let name = if guest.console == guest.name {
        guest.name.to_string()
    } else {
        format!("{} (console {})", guest.name, guest.console)
    };
    [
        name,
        Size(guest.memory).to_string(),
        guest.harts.to_string(),
        guest.share.to_string(),
        list(programs.into_iter().flatten()),
        initrd.unwrap_or_else(|| "-".to_string()),
        list(disks),
        list(ports),
    ]
}

fn disk(disk: &Disk<'_>) -> String {
    let access = if disk.writable() { "rw" } else { "ro" };
    let size = Size(disk.size());
    match *disk {
        Disk::Ram { .. } => format!("{size} {access}"),
        Disk::Host { disk, offset, .. } => {
            format!("{size} {access} of host disk {disk} at {}", Size(offset))
        }
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.collect();
    match parts.is_empty() {
        true => "-".to_string(),
        false => parts.join(", "),
    }
}
