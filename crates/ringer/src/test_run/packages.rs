//! Programs that a command needs: packages of Debian's, installed in the guest before it is saved, and a
//! word to whoever misses one.

use super::args::TestArgs;
use crate::agent::quote;
use crate::exit::Failure;
use crate::named_guest;

/// Waits for the network, which comes up beside all else.
const NETWORK: &str = "\
wait=/usr/lib/systemd/systemd-networkd-wait-online
if [ -x $wait ]; then $wait --any --timeout=60 >/dev/null 2>&1; fi
";

/// The script that installs them; nothing if there are none.
pub fn install(args: &TestArgs) -> Result<Option<String>, Failure> {
    if args.packages.is_empty() {
        return Ok(None);
    }
    name(&args.packages)?;
    if !named_guest::is_image(&args.image) {
        return Err(Failure::usage(
            "--packages needs a whole Debian: make one by `ringer image debian`",
        ));
    }
    // A list that cannot be fetched need not be the one that matters.
    Ok(Some(format!(
        "{NETWORK}export DEBIAN_FRONTEND=noninteractive\n\
         apt-get -qq update >/dev/null 2>&1\n\
         apt-get -qq -y --no-install-recommends install {} >/dev/null && apt-get clean",
        quote(&args.packages)
    )))
}

/// A part of the saved machine's name that is another one for other packages.
pub fn name(packages: &[String]) -> Result<String, Failure> {
    let is_package = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.:=~/".contains(&b))
    };
    if let Some(bad) = packages.iter().find(|name| !is_package(name)) {
        return Err(Failure::usage(format_args!(
            "--packages: '{bad}' cannot be a package's name"
        )));
    }
    let mut sorted: Vec<&str> = packages.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    Ok(match sorted.as_slice() {
        // No other name begins like it: those of a kind that are out of date are removed.
        [] => "plain-".to_string(),
        names => format!("{:08x}-", crc32fast::hash(names.join(",").as_bytes())),
    })
}

/// What goes before the command, so that a missing program is explained.
pub fn hint(args: &TestArgs) -> String {
    let advice = match (&args.snapshot, named_guest::is_image(&args.image)) {
        (Some(_), _) => "the saved machine lacks a program",
        (None, true) => {
            "the image lacks a program; --packages adds some of Debian's, as in: ringer test --packages build-essential ..."
        }
        (None, false) => {
            "the small guest lacks a program; `ringer image debian` makes a whole Debian, to which --packages adds more"
        }
    };
    let say = format!("echo {} >&2", quote(&[advice.to_string()]));
    match args.command.as_slice() {
        [_] => format!(
            "trap 'if [ $? -eq 127 ]; then '{}'; fi' EXIT\n",
            quote(&[say])
        ),
        [program, ..] => {
            let program = quote(std::slice::from_ref(program));
            format!(
                "command -v {program} >/dev/null || {{ echo {program}: not found >&2; {say}; exit 127; }}\n"
            )
        }
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn args(command: &[&str], packages: &[&str]) -> TestArgs {
        let owned = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        TestArgs {
            image: "no-such-image".to_string(),
            command: owned(command),
            packages: owned(packages),
            ..TestArgs::default()
        }
    }

    /// By the shell of this computer.
    #[test]
    fn who_misses_a_program_is_told() {
        let says = |words: &[&str], line: &str| {
            let script = hint(&args(words, &[])) + line;
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (
                output.status.code().unwrap(),
                said.contains("ringer image debian"),
            )
        };
        let missing = "no-such-program";
        assert_eq!(says(&[missing], missing), (127, true));
        assert_eq!(says(&["exit 3"], "exit 3"), (3, false));
        assert_eq!(
            says(&[missing, "-x"], "exec no-such-program -x"),
            (127, true)
        );
        assert_eq!(says(&["sh", "-c"], "exec sh -c 'exit 4'"), (4, false));
    }

    #[test]
    fn packages_are_named_and_belong_to_an_image() {
        let list = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let of = |names: &[&str]| name(&list(names));
        assert_ne!(of(&[]).unwrap(), of(&["plain"]).unwrap());
        assert!(!of(&["make"]).unwrap().starts_with(&of(&[]).unwrap()));
        assert_eq!(
            of(&["make", "g++"]).unwrap(),
            of(&["g++", "make", "make"]).unwrap()
        );
        assert_ne!(of(&["make"]).unwrap(), of(&["gcc"]).unwrap());
        for bad in ["", "-y", "a b", "a;b", "a$(b)", "../x"] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
        assert_eq!(install(&args(&["x"], &[])).unwrap(), None);
        assert!(install(&args(&["x"], &["make"])).is_err());
    }
}
