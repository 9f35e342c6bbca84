//! What the guest does to install Debian, as shell scripts: apt's plan, step by step.

use super::args::DebianArgs;
use super::packages::{Package, Step};
use crate::exit::Failure;

/// Where packages and scripts are in the guest.
const START: &str = "\
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd /packages
";

/// dpkg as it is used here: nothing has to survive a crash, and nobody answers questions.
const DPKG: &str = "dpkg --force-unsafe-io --force-confdef --force-confold";

/// Drivers in the initial RAM disk: little, so that it is read quickly.
const MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "ext4",
    "9p",
    "9pnet_virtio",
];

/// These come first: names of users, and the folders of all others.
const FIRST: [&str; 2] = ["base-passwd", "base-files"];

/// The packages whose files must be there before dpkg can run, the folders' owner first.
pub fn base(steps: &[Step]) -> Vec<Package> {
    let (mut first, rest): (Vec<_>, Vec<_>) = steps
        .iter()
        .filter_map(|step| match step {
            Step::Unpack(package) => Some(package.clone()),
            Step::Configure(_) => None,
        })
        .partition(|package| package.name == "base-files");
    first.extend(rest);
    first
}

/// The script that installs all: the base, whose parts need each other, at once, and the rest as
/// apt has ordered it.
pub fn install(base: &[Package], steps: &[Step]) -> String {
    let mut script = String::from(START);
    let mut run = |command: &str, names: &[&str]| {
        script.push_str(&format!("{DPKG} {command} {} || exit 1\n", names.join(" ")));
    };
    for first in FIRST {
        if let Some(package) = base.iter().find(|package| package.name == first) {
            run("--force-depends --install", &[&package.file]);
        }
    }
    let files: Vec<&str> = base
        .iter()
        .filter(|package| !FIRST.contains(&package.name.as_str()))
        .map(|package| package.file.as_str())
        .collect();
    run("--force-depends --install", &files);

    let is_base = |name: &str| base.iter().any(|package| package.name == name);
    let rest = steps.iter().filter(|step| match step {
        Step::Unpack(package) => !is_base(&package.name),
        Step::Configure(name) => !is_base(name),
    });
    let rest: Vec<&Step> = rest.collect();
    let same = |a: &&Step, b: &&Step| matches!(a, Step::Unpack(_)) == matches!(b, Step::Unpack(_));
    for group in rest.chunk_by(same) {
        let words: Vec<&str> = group
            .iter()
            .map(|step| match step {
                Step::Unpack(package) => package.file.as_str(),
                Step::Configure(name) => name.as_str(),
            })
            .collect();
        match group.first() {
            Some(Step::Unpack(_)) => run("--unpack", &words),
            _ => run("--configure", &words),
        }
    }
    // Before the initial RAM disk is made, which the kernel's package does. Once is enough: it
    // takes long, and other packages would have it made again.
    let settings = format!(
        "mkdir -p /etc/initramfs-tools/conf.d /usr/share/initramfs-tools/modules.d\n\
         echo MODULES=list > /etc/initramfs-tools/conf.d/ringer\n\
         echo update_initramfs=no > /etc/initramfs-tools/update-initramfs.conf\n\
         printf '%s\\n' {} > /usr/share/initramfs-tools/modules.d/ringer\n",
        MODULES.join(" ")
    );
    match script.find(&format!("{DPKG} --unpack")) {
        Some(place) => script.insert_str(place, &settings),
        None => script.push_str(&settings),
    }
    script
}

/// The script that makes a guest of it.
pub fn configure(
    args: &DebianArgs,
    hostname: &str,
    mirror: &str,
    security: Option<&str>,
) -> Result<String, Failure> {
    let valid = |name: &str| {
        !name.is_empty()
            && name.len() <= 63
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !valid(hostname) {
        return Err(Failure::usage(format_args!(
            "'{hostname}' cannot be a host name: letters, digits and '-'; choose another --hostname"
        )));
    }
    let password = args.password.as_deref().unwrap_or_default();
    if password.contains(['\n', '\r']) {
        return Err(Failure::usage("a password is one line"));
    }
    let values = [
        ("HOSTNAME", hostname),
        ("MIRROR", mirror),
        ("SECURITY", security.unwrap_or_default()),
        ("SUITE", &args.suite),
        ("PASSWORD", password),
    ];
    let mut script = String::from(START);
    for (name, value) in values {
        script.push_str(&format!("{name}={}\n", quoted(value)));
    }
    script.push_str(include_str!("scripts/configure"));
    Ok(script)
}

/// A text as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(name: &str) -> Step {
        Step::Unpack(Package {
            name: name.into(),
            file: format!("{name}.deb"),
        })
    }

    #[test]
    fn the_base_comes_at_once_and_the_rest_in_order() {
        let conf = |name: &str| Step::Configure(name.into());
        let essential = [
            unpack("libc6"),
            conf("libc6"),
            unpack("base-files"),
            unpack("dpkg"),
        ];
        let base = base(&essential);
        assert_eq!(base[0].name, "base-files");
        let steps = [
            unpack("libc6"),
            conf("libc6"),
            unpack("a"),
            unpack("b"),
            conf("b"),
            unpack("c"),
            conf("c"),
            conf("a"),
        ];
        let script = install(&base, &steps);
        let lines: Vec<&str> = script
            .lines()
            .filter_map(|line| line.strip_prefix(DPKG))
            .map(|line| line.trim_end_matches(" || exit 1"))
            .collect();
        assert_eq!(
            lines,
            [
                " --force-depends --install base-files.deb",
                " --force-depends --install libc6.deb dpkg.deb",
                " --unpack a.deb b.deb",
                " --configure b",
                " --unpack c.deb",
                " --configure c a",
            ]
        );
        assert!(script.find("MODULES=list") < script.find("--unpack"));
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        let said = quoted("it's $HOME `x`");
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {said}")])
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"it's $HOME `x`");
    }
}
