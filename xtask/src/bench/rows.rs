//! What is measured: the rows of the table, and what each of them has to reach.

use anyhow::{Result, bail};

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// Its name on the command line (`--only`), and in the benchmark's output but for `-4`.
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    pub group: Group,
    /// How often as fast as QEMU Ringer has to be.
    pub bar: f64,
    /// What part of the native speed Ringer has to reach, for rows whose work is computation: there
    /// the host does the same instructions but for their encoding.
    pub native_bar: NativeBar,
}

/// Which machine a row is measured on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// The start of the machine with one hart.
    Boot,
    /// One process on the machine with one hart.
    OneHart,
    /// [`HARTS`] processes at once on a machine with as many harts.
    ManyHarts,
}

/// How many harts the larger machine has.
pub const HARTS: usize = 4;

/// What is asked of a row beside the host.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum NativeBar {
    /// Work for the kernel: the host's is another one, so that the ratio says nothing.
    NotCompared,
    /// The ratio is shown.
    Shown,
    /// At least this part of the native speed.
    AtLeast(f64),
}

use Group::{Boot, ManyHarts, OneHart};
use NativeBar::{AtLeast, NotCompared, Shown};

const fn row(
    name: &'static str,
    title: &'static str,
    group: Group,
    bar: f64,
    native_bar: NativeBar,
) -> Row {
    Row {
        name,
        title,
        group,
        bar,
        native_bar,
    }
}

/// All rows, in the order of the table.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("boot", "boot to /init", Boot, 2.5, NotCompared),
    row("integer", "integer (lists, matrices, text)", OneHart, 2.5, AtLeast(0.35)),
    row("fibonacci", "fibonacci (calls)", OneHart, 5.0, Shown),
    row("dispatch", "dispatch (switch in a loop)", OneHart, 3.0, Shown),
    row("nbody", "nbody (double)", OneHart, 8.0, Shown),
    row("matrix", "matrix (double)", OneHart, 8.0, Shown),
    row("mandelbrot", "mandelbrot (single)", OneHart, 8.0, Shown),
    row("stream", "stream (24 MiB in order)", OneHart, 1.0, Shown),
    row("chase", "chase (4 MiB at random)", OneHart, 1.0, Shown),
    row("syscall", "null system calls", OneHart, 4.0, NotCompared),
    row("pagefault", "page faults", OneHart, 1.0, NotCompared),
    row("fork", "fork", OneHart, 1.0, NotCompared),
    row("exec", "fork and exec of busybox", OneHart, 4.0, NotCompared),
    row("shell", "shell loop", OneHart, 3.0, Shown),
    row("integer-4", "4 harts: integer", ManyHarts, 1.0, Shown),
    row("fork-4", "4 harts: fork", ManyHarts, 1.0, NotCompared),
];

impl Row {
    /// The benchmark's name of the work.
    pub fn kernel(&self) -> &'static str {
        self.name.strip_suffix("-4").unwrap_or(self.name)
    }
}

/// The rows with these names, or all if there are none.
pub fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    choose_from(ROWS, |row| row.name, names, "")
}

/// Those of `rows` with these names, or all if there are none; `where_` says in a refusal which
/// rows are meant.
pub fn choose_from<R>(
    rows: &'static [R],
    name_of: impl Fn(&R) -> &'static str,
    names: &[String],
    where_: &str,
) -> Result<Vec<&'static R>> {
    for name in names {
        if !rows.iter().any(|row| name_of(row) == name) {
            let known: Vec<&str> = rows.iter().map(&name_of).collect();
            bail!("--only {name}: {where_}there are {}", known.join(", "));
        }
    }
    let wanted = |row: &&R| names.is_empty() || names.iter().any(|name| name == name_of(row));
    Ok(rows.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_in_the_order_of_the_table() {
        let names = ["fork-4".to_owned(), "nbody".to_owned()];
        let rows = choose(&names).unwrap();
        let chosen: Vec<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(chosen, ["nbody", "fork-4"]);
        assert_eq!(rows.last().unwrap().kernel(), "fork");
        assert_eq!(choose(&[]).unwrap().len(), ROWS.len());
        assert!(choose(&["nbodies".to_owned()]).is_err());
    }
}
