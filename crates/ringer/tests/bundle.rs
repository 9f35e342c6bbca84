//! `ringer bundle`: what descriptions and files become, and what is said of mistakes in them.

mod command;

use std::fs;
use std::path::{Path, PathBuf};

use command::{Ran, ringer, test_image};
use ringer_bundle::{Bundle, Disk, Placement};

/// A folder for descriptions and what they name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::copy(test_image("traps"), folder.path("program")).unwrap();
        folder
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.name(name)
    }
    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }
    /// Packs descriptions into the file `out`.
    fn pack(&self, guests: &[&str]) -> Ran {
        let out = self.name("out");
        let args = [&["bundle"][..], guests, &["-o", &out]].concat();
        ringer(&args)
    }
}

#[test]
fn a_bundle_holds_what_was_described() {
    let folder = Folder::new();
    folder.file("disk.img", [9; 700]);
    folder.file("initrd", "some files");
    // The command does not run in this folder: paths are relative to the description.
    let first = folder.file(
        "first.toml",
        "kernel = 'program'\ninitrd = 'initrd'\nappend = 'quiet'\nmemory = '32M'\nharts = 2\n\
         share = 7\n[[disk]]\npath = 'disk.img'\nwritable = true\n\
         [[disk]]\nhost = { offset = '1M', size = '4K' }\n[[network]]\nswitch = 2\n",
    );
    let second = folder.file(
        "x.toml",
        "name = 'second'\nconsole = 'tty'\nbios = 'program'",
    );
    let ran = folder.pack(&[&first, &second]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");

    let bytes = fs::read(folder.path("out")).unwrap();
    let bundle = Bundle::parse(&bytes).unwrap();
    let [first, second] = &bundle.guests[..] else {
        panic!("two guests: {bundle:?}")
    };
    assert_eq!((first.name, first.console), ("first", "first"));
    assert_eq!((first.memory, first.harts, first.share), (32 << 20, 2, 7));
    assert_eq!(first.command_line, "quiet");
    assert_eq!(first.initrd, Some(&b"some files"[..]));
    let mut image = [0; 1024];
    image[..700].fill(9);
    let ram_disk = Disk::Ram {
        content: &image,
        writable: true,
    };
    let range = Disk::Host {
        disk: 0,
        offset: 1 << 20,
        size: 4096,
        writable: false,
    };
    assert_eq!(first.disks, [ram_disk, range]);
    assert_eq!((first.ports.len(), first.ports[0].switch), (1, 2));
    assert_eq!((second.name, second.console), ("second", "tty"));
    assert!(first.firmware.is_none() && second.kernel.is_none());
    // Both are the same ELF program, which names its own addresses.
    assert_eq!(first.kernel, second.firmware);
    let program = second.firmware.as_ref().unwrap();
    assert!(matches!(program.placement, Placement::Fixed { entry } if entry >= 0x8000_0000));

    // What was printed is what is shown later.
    let out = folder.name("out");
    let shown = ringer(&["bundle", "--show", &out]);
    assert_eq!((shown.status, &shown.stdout), (0, &ran.stdout));
    for word in [
        "first",
        "second (console tty)",
        "32 MiB",
        "2 guests",
        "host disk 0 at 1 MiB",
    ] {
        assert!(shown.stdout.contains(word), "{word}: {shown:?}");
    }
}

#[test]
fn mistakes_are_one_line() {
    let folder = Folder::new();
    let good = folder.file("good.toml", "kernel = 'program'");
    for (text, status, needle) in [
        ("kernal = 'program'", 2, "line 1: unknown field `kernal`"),
        (
            "kernel = 'program'\nmemory = 'big'",
            2,
            "line 2: 'big' is not a size",
        ),
        ("", 2, "nothing to start"),
        ("kernel = 'absent'", 100, "no such file"),
        ("kernel = 'bad.toml'", 100, "no RISC-V kernel"),
        ("kernel = 'program'\nmemory = '4K'", 100, "does not fit"),
        ("kernel = 'program'\nharts = 0", 2, "harts, not 0"),
        ("kernel = 'program'\nname = 'a b'", 2, "a name has"),
        (
            "kernel = 'program'\nname = 'good'",
            2,
            "two guests are called good",
        ),
        ("kernel = 'program'\n[[disk]]", 100, "disk 0: give either"),
        (
            "kernel = 'program'\n[[disk]]\npath = 'absent'",
            100,
            "absent",
        ),
    ] {
        let bad = folder.file("bad.toml", text);
        refused(&folder.pack(&[&good, &bad]), status, needle);
        assert!(!folder.path("out").exists(), "{text}");
    }
    refused(&ringer(&["bundle", &good]), 2, "-o");
    refused(&folder.pack(&[]), 2, "needs guests");
    refused(&ringer(&["bundle", "--show", &good]), 100, "not a bundle");
    refused(&ringer(&["bundle", "--frob"]), 2, "ringer bundle --help");
}

#[test]
fn help_teaches_by_an_example_that_works() {
    let help = ringer(&["bundle", "--help"]);
    let example = help.stdout.split_once("name = ").unwrap().1;
    let folder = Folder::new();
    fs::copy(folder.path("program"), folder.path("Image")).unwrap();
    folder.file("initrd.cpio.gz", "files");
    folder.file("root.img", [0; 512]);
    let web = folder.file("web.toml", format!("name = {example}"));
    let ran = folder.pack(&[&web]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(Path::new(&folder.name("out")).exists());
}

/// One line, with the program's name, that holds `needle`.
fn refused(ran: &Ran, status: i32, needle: &str) {
    assert_eq!(ran.status, status, "{needle}: {ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.starts_with("ringer: "), "{ran:?}");
    assert!(ran.stderr.contains(needle), "{needle}: {ran:?}");
}
