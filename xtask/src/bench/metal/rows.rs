//! What is counted: the rows of the table, and what each of them has to reach.

use anyhow::Result;

use crate::bench::rows::choose_from;

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// Its name on the command line (`--only`).
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    pub work: Work,
    pub bar: Bar,
}

/// What a guest does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Debian's kernel starts its first process, which powers off at once.
    Boot,
    /// A kernel of `guests/bench` in the first process, in so many rounds.
    Kernel { rounds: u64 },
    /// The same, of one that waits for processes: not on QEMU, whose clock goes on meanwhile.
    Waits { rounds: u64 },
    /// The same, after `/init` has loaded the drivers, with a disk.
    WithDisk { rounds: u64 },
    /// The same, with a network card: on the monitor, a port of a switch that is bridged to the
    /// machine's card. On both, somebody behind the machine's card sends everything back.
    WithCard { rounds: u64 },
    /// So many null system calls in the M-mode kernel that works like xv6.
    Getpid { rounds: u64 },
}

/// What is asked of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bar {
    /// Nothing.
    None,
    /// At least this part of the work that the same number of instructions does on bare hardware.
    Work(f64),
    /// At most so many times the instructions on bare hardware.
    Instructions(f64),
    /// At most so many exits a round; first the one number, then the other.
    Exits(f64, f64),
}

const fn row(name: &'static str, title: &'static str, work: Work, bar: Bar) -> Row {
    Row {
        name,
        title,
        work,
        bar,
    }
}

const fn kernel(name: &'static str, title: &'static str, rounds: u64, bar: Bar) -> Row {
    row(name, title, Work::Kernel { rounds }, bar)
}

const COMPUTES: Bar = Bar::Work(0.99);

/// All rows, in the order of the table. The rounds make some fifty million instructions.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("boot", "boot to the first process, and power-off", Work::Boot, Bar::Instructions(2.0)),
    kernel("integer", "integer (lists, matrices, text)", 1000, COMPUTES),
    kernel("fibonacci", "fibonacci (calls)", 250, COMPUTES),
    kernel("dispatch", "dispatch (switch in a loop)", 5000, COMPUTES),
    kernel("nbody", "nbody (double)", 100_000, COMPUTES),
    kernel("mandelbrot", "mandelbrot (single)", 1440, COMPUTES),
    kernel("stream", "stream (24 MiB in order)", 8, COMPUTES),
    kernel("chase", "chase (4 MiB at random)", 10_000, COMPUTES),
    kernel("syscall", "null system call", 3000, Bar::None),
    kernel("pagefault", "64 page faults", 30, Bar::None),
    row("switch", "two switches of processes, by pipes", Work::Waits { rounds: 500 }, Bar::None),
    row("fork", "fork", Work::Waits { rounds: 60 }, Bar::None),
    row("exec", "fork and exec of busybox", Work::Waits { rounds: 15 }, Bar::None),
    row("disk", "64 KiB from a virtio disk", Work::WithDisk { rounds: 200 }, Bar::None),
    row("net", "64 KiB to a network and back, by UDP (monitor: bridged)", Work::WithCard { rounds: 100 }, Bar::None),
    row("getpid", "null system call of a kernel like xv6", Work::Getpid { rounds: 10_000 }, Bar::Exits(16.0, 5.0)),
];

impl Row {
    /// The rounds by which two runs of the row differ; none if one run tells all.
    pub fn difference(&self) -> Option<u64> {
        match self.work {
            Work::Boot => None,
            // The benchmark does them twice: to warm up, and to take the time.
            Work::Kernel { rounds }
            | Work::Waits { rounds }
            | Work::WithDisk { rounds }
            | Work::WithCard { rounds } => Some(2 * rounds),
            Work::Getpid { rounds } => Some(rounds),
        }
    }
}

/// The rows with these names, or all if there are none.
pub fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    choose_from(ROWS, |row| row.name, names, "with --metal ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_in_the_order_of_the_table() {
        let rows = choose(&["getpid".to_owned(), "boot".to_owned()]).unwrap();
        let chosen: Vec<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(chosen, ["boot", "getpid"]);
        assert!(choose(&["nbodies".to_owned()]).is_err());
        assert_eq!(choose(&[]).unwrap().len(), ROWS.len());
    }
}
