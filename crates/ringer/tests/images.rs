//! Disk images of all kinds: what they hold, what QEMU's tools say of them, and what is refused.

mod command;
mod qemu_img;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use command::Ran;
use qemu_img::qemu_img;
use ringer::config::DiskSpec;
use ringer::disk::format::ImageFormat;
use ringer::disk::qcow2::{Header, write_backing};
use ringer::disk::{Disk, create, open};
use ringer_machine::backend::BlockBackend;

const SIZE: u64 = 3 << 20;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.roll(256) as u8).collect()
    }
}

/// Opens a disk. A program that another test is just starting holds all open files, and their
/// locks, for a moment.
fn disk(text: &str) -> Disk {
    for _ in 0..200 {
        match attempt(text) {
            Ok(disk) => return disk,
            Err(error) if error.contains("in use") => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(error) => panic!("{text}: {error}"),
        }
    }
    panic!("{text} stays in use")
}

/// Runs `ringer`, again while another test's program holds the locks.
fn ringer(args: &[&str]) -> Ran {
    for _ in 0..200 {
        let ran = command::ringer(args);
        if !ran.stderr.contains("in use") {
            return ran;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{args:?}: stays in use")
}

fn attempt(text: &str) -> Result<Disk, String> {
    let opened = open(&DiskSpec::parse(text).unwrap());
    opened.map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    })
}

fn content(disk: &mut dyn BlockBackend) -> Vec<u8> {
    let mut bytes = vec![0; disk.len() as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

/// Does `count` random things to a disk and to what it should hold.
fn exercise(disk: &mut dyn BlockBackend, model: &mut [u8], dice: &mut Dice, count: usize) {
    let len = model.len() as u64;
    for _ in 0..count {
        // Most of it in one place, so that clusters are met again.
        let span = if dice.roll(4) == 0 { len } else { 300_000 };
        let at = dice.roll(span.min(len) / 512) * 512;
        let most = if dice.roll(8) == 0 { 400 } else { 40 };
        let bytes = (1 + dice.roll(most)) * 512;
        let end = (at + bytes).min(len);
        let (range, bytes) = (at as usize..end as usize, end - at);
        match dice.roll(6) {
            0 => {
                disk.write_zeroes(at, bytes, dice.roll(2) == 0).unwrap();
                model[range].fill(0);
            }
            1 => {
                disk.discard(at, bytes).unwrap();
                // What it reads as now is the disk's choice, and stays.
                disk.read(at, &mut model[range]).unwrap();
            }
            2 => disk.flush().unwrap(),
            3 => {
                let mut back = vec![0; bytes as usize];
                disk.read(at, &mut back).unwrap();
                assert!(back == model[range], "{at}+{bytes}");
            }
            _ => {
                let new = dice.bytes(bytes as usize);
                disk.write(at, &new).unwrap();
                model[range].copy_from_slice(&new);
            }
        }
    }
    assert!(content(disk) == model);
}

/// Checks an image with QEMU's tool, and compares what that reads with `model`.
fn agrees(image: &Path, model: &[u8]) {
    let raw = image.with_extension("model");
    fs::write(&raw, model).unwrap();
    qemu_img(&["check", "-q", image.to_str().unwrap()]);
    let (image, raw) = (image.to_str().unwrap(), raw.to_str().unwrap());
    qemu_img(&["compare", "-q", "-F", "raw", image, raw]);
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }
    /// A raw image with random content.
    fn base(&self, name: &str, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = dice.bytes(SIZE as usize);
        bytes[..8].fill(1);
        fs::write(self.path(name), &bytes).unwrap();
        bytes
    }
}

#[test]
fn a_qcow2_image_is_a_disk_and_qemu_reads_the_same() {
    let folder = Folder::new();
    let path = folder.path("disk.qcow2");
    create::filled(&path, ImageFormat::Qcow2, SIZE, false, |_| Ok(())).unwrap();
    let mut model = vec![0; SIZE as usize];
    let mut dice = Dice(1);
    for _ in 0..3 {
        let mut disk = disk(path.to_str().unwrap());
        assert!(disk.tables.is_some() && disk.overlay.is_none());
        exercise(&mut *disk.backend, &mut model, &mut dice, 300);
        assert!(disk.backend.read(SIZE, &mut [0; 512]).is_err());
        assert!(disk.backend.write(SIZE - 512, &[1; 1024]).is_err());
        assert!(
            disk.backend
                .write_zeroes(u64::MAX - 511, 512, true)
                .is_err()
        );
    }
    agrees(&path, &model);
}

#[test]
fn images_that_qemu_made() {
    let options: [&[&str]; 6] = [
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=4k,refcount_bits=1"],
        &["-o", "cluster_size=2M,refcount_bits=64"],
        &["-o", "compat=0.10"],
        &["-o", "preallocation=metadata"],
        &["-o", "lazy_refcounts=on"],
    ];
    for (number, options) in options.iter().enumerate() {
        let folder = Folder::new();
        let path = folder.path("q.qcow2");
        let mut arguments = vec!["create", "-q", "-f", "qcow2"];
        arguments.extend(options.iter());
        arguments.extend([path.to_str().unwrap(), "3M"]);
        if !qemu_img(&arguments) {
            return;
        }
        let mut model = vec![0; SIZE as usize];
        let mut dice = Dice(number as u64 + 2);
        let mut opened = disk(path.to_str().unwrap());
        exercise(&mut *opened.backend, &mut model, &mut dice, 300);
        drop(opened);
        agrees(&path, &model);
    }
}

#[test]
fn compressed_clusters_and_snapshots_inside() {
    let folder = Folder::new();
    let mut dice = Dice(10);
    // Half of it compresses well.
    let mut model = folder.base("plain.img", &mut dice);
    model[..SIZE as usize / 2].fill(7);
    fs::write(folder.path("plain.img"), &model).unwrap();
    let path = folder.path("c.qcow2");
    let (plain, image) = (folder.text("plain.img"), folder.text("c.qcow2"));
    if !qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", &plain, &image]) {
        return;
    }
    qemu_img(&["snapshot", "-c", "before", &image]);
    let before = model.clone();
    let mut opened = disk(&image);
    assert!(content(&mut *opened.backend) == model);
    exercise(&mut *opened.backend, &mut model, &mut dice, 300);
    drop(opened);
    agrees(&path, &model);
    qemu_img(&["snapshot", "-a", "before", &image]);
    agrees(&path, &before);
    assert!(content(&mut *disk(&image).backend) == before);
}

#[test]
fn overlays_over_every_kind_of_base() {
    for base_format in ["raw", "qcow2"] {
        let folder = Folder::new();
        let mut dice = Dice(20);
        let original = folder.base("base.img", &mut dice);
        let mut base = folder.text("base.img");
        if base_format == "qcow2" {
            let ran = ringer(&["image", "convert", &base, &folder.text("base.qcow2")]);
            assert_eq!(ran.status, 0, "{ran:?}");
            base = folder.text("base.qcow2");
        }
        let before = fs::read(&base).unwrap();

        // Forgotten: two machines at once on one base.
        let mut one = disk(&format!("{base},overlay"));
        let mut two = disk(&format!("{base},overlay"));
        let (mut model_one, mut model_two) = (original.clone(), original.clone());
        exercise(&mut *one.backend, &mut model_one, &mut dice, 200);
        exercise(&mut *two.backend, &mut model_two, &mut dice, 200);
        assert!(content(&mut *one.backend) == model_one);
        drop((one, two));

        // Kept, in files that are made.
        let kept = folder.text("kept.qcow2");
        let text = format!("{base},overlay={kept}");
        let mut model = original.clone();
        for _ in 0..3 {
            let mut opened = disk(&text);
            let mut other = disk(&format!("{base},overlay={}", folder.text("other.qcow2")));
            assert!(attempt(&base).is_err_and(|error| error.contains("in use")));
            assert!(attempt(&text).is_err_and(|error| error.contains("in use")));
            exercise(&mut *opened.backend, &mut model, &mut dice, 200);
            assert!(content(&mut *other.backend) == original);
        }
        agrees(Path::new(&kept), &model);
        assert!(fs::read(&base).unwrap() == before);
        // By its own name it is the same disk, and read-only when asked.
        assert!(content(&mut *disk(&format!("{kept},ro")).backend) == model);

        // An overlay on an overlay.
        let top = folder.text("top.qcow2");
        let mut model_top = model.clone();
        let mut opened = disk(&format!("{kept},overlay={top}"));
        exercise(&mut *opened.backend, &mut model_top, &mut dice, 200);
        drop(opened);
        agrees(Path::new(&top), &model_top);

        // Committed step by step, it is the base.
        for overlay in [&top, &kept] {
            let ran = ringer(&["image", "commit", overlay]);
            assert_eq!(ran.status, 0, "{ran:?}");
            assert!(!Path::new(overlay).exists());
        }
        assert!(content(&mut *disk(&base).backend) == model_top);
        if base_format == "qcow2" {
            agrees(Path::new(&base), &model_top);
        }
    }
}

#[test]
fn a_base_that_changed_is_refused() {
    let folder = Folder::new();
    let original = folder.base("base.img", &mut Dice(30));
    let (base, kept) = (folder.text("base.img"), folder.text("kept.qcow2"));
    let text = format!("{base},overlay={kept}");
    disk(&text).backend.write(0, &[9; 512]).unwrap();

    disk(&base).backend.write(4096, &[1; 512]).unwrap();
    let error = attempt(&text).err().unwrap();
    assert!(error.contains("was changed since"), "{error}");
    assert!(attempt(&kept).is_err());
    let ran = ringer(&["image", "commit", &kept]);
    assert!(
        ran.status == 100 && ran.stderr.contains("changed"),
        "{ran:?}"
    );
    let ran = ringer(&["image", "show", "--json", &kept]);
    assert!(ran.stdout.contains("\"state\": \"changed\""), "{ran:?}");

    // Who knows better can say so.
    fs::write(&base, &original).unwrap();
    let ran = ringer(&["image", "rebase", &kept, "--base", &base]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let bytes = content(&mut *disk(&text).backend);
    assert!(bytes[..512] == [9; 512] && bytes[512..] == original[512..]);

    let other = folder.text("other.img");
    fs::copy(&base, &other).unwrap();
    assert!(attempt(&format!("{other},overlay={kept}")).is_err_and(|e| e.contains("not on")));
    assert!(attempt(&format!("{base},overlay={other}")).is_err());
    assert!(attempt(&format!("{base},overlay={base}")).is_err());
    assert!(attempt(&format!("{base},ro,overlay={}", folder.text("no"))).is_err());
    fs::remove_file(&base).unwrap();
    assert!(attempt(&kept).is_err_and(|error| error.contains("cannot be found")));
}

#[test]
fn a_commit_that_was_killed_is_completed() {
    let folder = Folder::new();
    let mut dice = Dice(40);
    let mut model = folder.base("base.img", &mut dice);
    let (base, kept) = (folder.text("base.img"), folder.text("kept.qcow2"));
    let text = format!("{base},overlay={kept}");
    exercise(&mut *disk(&text).backend, &mut model, &mut dice, 200);

    // As it is when the command is killed in the middle: marked, and the base half written.
    let file = File::options().read(true).write(true).open(&kept).unwrap();
    let header = Header::read(&file, file.metadata().unwrap().len()).unwrap();
    let mut backing = header.backing.unwrap();
    backing.identity.as_mut().unwrap().commit_begun = true;
    write_backing(&file, &backing).unwrap();
    drop(file);
    let half = File::options().write(true).open(&base).unwrap();
    half.write_all_at(&model[..SIZE as usize / 2], 0).unwrap();

    let error = attempt(&text).err().unwrap();
    assert!(error.contains("ringer image commit"), "{error}");
    let ran = ringer(&["image", "rebase", &kept, "--base", &base]);
    assert_eq!(ran.status, 100, "{ran:?}");
    let ran = ringer(&["image", "commit", &kept]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(fs::read(&base).unwrap() == model);
    assert!(!Path::new(&kept).exists());
}

#[test]
fn a_commit_makes_no_other_format_of_its_base() {
    let folder = Folder::new();
    let original = folder.base("base.img", &mut Dice(50));
    let (base, kept) = (folder.text("base.img"), folder.text("kept.qcow2"));
    let mut opened = disk(&format!("{base},overlay={kept}"));
    let mut sector = [0; 512];
    sector[..4].copy_from_slice(b"QFI\xfb");
    opened.backend.write(0, &sector).unwrap();
    drop(opened);
    let ran = ringer(&["image", "commit", &kept]);
    assert!(
        ran.status == 100 && ran.stderr.contains("sector 0"),
        "{ran:?}"
    );
    assert!(fs::read(&base).unwrap() == original && Path::new(&kept).exists());
}

#[test]
fn an_image_names_no_file_elsewhere() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let secret = elsewhere.base("secret", &mut Dice(60));
    let (base, kept) = (elsewhere.text("secret"), folder.text("kept.qcow2"));
    let text = format!("{base},overlay={kept}");
    assert!(content(&mut *disk(&text).backend) == secret);
    let error = attempt(&kept).err().unwrap();
    assert!(error.contains("not in its own folder"), "{error}");
    let ran = ringer(&["image", "commit", &kept]);
    assert_eq!(ran.status, 100, "{ran:?}");
    // Nor by a symbolic link.
    std::os::unix::fs::symlink(&base, folder.path("link")).unwrap();
    let ran = ringer(&[
        "image",
        "create",
        &folder.text("b.qcow2"),
        "--base",
        &folder.text("link"),
    ]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(attempt(&folder.text("b.qcow2")).is_err());
    let ran = ringer(&["image", "commit", &kept, "--base", &base]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

#[test]
fn chains_without_end_are_refused() {
    let folder = Folder::new();
    let (a, b) = (folder.text("a.qcow2"), folder.text("b.qcow2"));
    create::filled(Path::new(&a), ImageFormat::Qcow2, SIZE, false, |_| Ok(())).unwrap();
    create::overlay(Path::new(&b), Path::new(&a), None, None, false).unwrap();
    // a stands on b, and b on a.
    let file = File::options().read(true).write(true).open(&a).unwrap();
    let mut backing = create::describe_base(Path::new(&a), Path::new(&b), None).unwrap();
    backing.identity = None;
    write_backing(&file, &backing).unwrap();
    let other = File::options().read(true).write(true).open(&b).unwrap();
    backing.name = "a.qcow2".into();
    write_backing(&other, &backing).unwrap();
    drop((file, other));
    assert!(attempt(&format!("{a},ro")).is_err_and(|error| error.contains("on itself")));

    let mut below = a;
    create::filled(
        Path::new(&below),
        ImageFormat::Qcow2,
        SIZE,
        true,
        |_| Ok(()),
    )
    .unwrap();
    let refused = (0..20).any(|number| {
        let above = folder.text(&format!("layer{number}"));
        let made = create::overlay(Path::new(&above), Path::new(&below), None, None, false);
        below = above;
        made.is_err_and(|error| error.to_string().contains("more than 16"))
    });
    assert!(refused);
}

#[test]
fn damaged_images_are_refused_and_break_nothing() {
    let folder = Folder::new();
    let path = folder.path("d.qcow2");
    create::filled(&path, ImageFormat::Qcow2, SIZE, false, |_| Ok(())).unwrap();
    let mut dice = Dice(70);
    let mut model = vec![0; SIZE as usize];
    exercise(
        &mut *disk(path.to_str().unwrap()).backend,
        &mut model,
        &mut dice,
        100,
    );
    let good = fs::read(&path).unwrap();

    for (at, value, needle) in [
        (4, 4u32, "version 4"),
        (20, 40, "2^40"),
        (24, 0x8000_0000, "L1 table"),
        (32, 1, "encrypted"),
        (36, 0x0fff_ffff, "L1 table has"),
        (40, 0x7fff_0000, "L1 table is not in the file"),
        (48, 0x7fff_0000, "refcount table is not in the file"),
        (56, 0xffff, "refcount table has"),
        (76, 1, "not closed properly"),
        (76, 4, "in another file"),
        (76, 0x100, "nobody knew"),
        (96, 9, "reference counts"),
        (100, 0x7fff_ffff, "header has"),
        (56, 0, "no reference count"),
        // The first entry of the refcount table, and the first count.
        (65_540, 0, "no reference count"),
        (131_072, 1, "no reference count"),
    ] {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
        fs::write(&path, &bad).unwrap();
        let error = attempt(path.to_str().unwrap()).err().unwrap_or_default();
        assert!(error.contains(needle), "{at}: {error}");
    }
    for len in [600, 65_536, 65_537, 131_072, 196_608] {
        fs::write(&path, &good[..len]).unwrap();
        assert!(attempt(path.to_str().unwrap()).is_err(), "{len}");
    }

    // Tables of nonsense: whatever is answered, the process stands and the file stays small.
    for _ in 0..300 {
        let mut bad = good.clone();
        for _ in 0..1 + dice.roll(6) {
            let place = match dice.roll(3) {
                0 => dice.roll(200),
                _ => {
                    dice.roll(bad.len() as u64 / 65_536) * 65_536 + dice.roll(64) * 8 + dice.roll(8)
                }
            };
            bad[place as usize] ^= 1 << dice.roll(8);
        }
        fs::write(&path, &bad).unwrap();
        let Ok(mut opened) = attempt(path.to_str().unwrap()) else {
            continue;
        };
        let len = opened.backend.len();
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..40 {
            let at = dice.roll(len.min(SIZE) / 512) * 512;
            let count = (1 + dice.roll(100)) * 512;
            let count = count.min(len - at) as usize;
            // Any result will do.
            let _ = match dice.roll(4) {
                0 => opened.backend.write(at, &buffer[..count]),
                1 => opened.backend.discard(at, count as u64),
                2 => opened.backend.write_zeroes(at, count as u64, false),
                _ => opened.backend.read(at, &mut buffer[..count]),
            };
        }
    }
}

#[test]
fn what_the_commands_say() {
    let folder = Folder::new();
    let (disk_file, raw) = (folder.text("disk.qcow2"), folder.text("disk.img"));
    assert_eq!(ringer(&["image", "create", &disk_file, "10M"]).status, 0);
    assert_eq!(ringer(&["image", "create", &raw, "10M"]).status, 0);
    assert_eq!(fs::metadata(&raw).unwrap().len(), 10 << 20);
    for (args, needle) in [
        (&["create", &disk_file, "10M"][..], "exists already"),
        (&["create", &folder.text("x"), "10"], "multiple of 512"),
        (&["create", &folder.text("x"), "9000000T"], "size"),
        (&["show", &folder.text("none")], "no such file"),
        (
            &["show", folder.0.path().to_str().unwrap()],
            "neither a file",
        ),
        (&["commit", &disk_file], "stands on no base"),
        (&["commit", &raw], "no overlay"),
        (&["rebase", &disk_file, "--base", &raw], "stands on no base"),
        (&["resize", &disk_file, "5M"], "--shrink"),
        (&["resize", &raw, "5M"], "--shrink"),
        (
            &["convert", &folder.text("none"), &folder.text("y")],
            "no such file",
        ),
        (&["create", "/no/such/folder/x", "1M"], "cannot make"),
    ] {
        let mut all = vec!["image"];
        all.extend(args);
        let ran = ringer(&all);
        assert_ne!(ran.status, 0, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(ran.stderr.contains(needle), "{needle}: {ran:?}");
    }
    for (size, shrink, bytes) in [
        ("+2M", false, 12 << 20),
        ("64K", true, 64 << 10),
        ("1G", false, 1 << 30),
    ] {
        for image in [&disk_file, &raw] {
            let mut args = vec!["image", "resize", image, size];
            args.extend(shrink.then_some("--shrink"));
            let ran = ringer(&args);
            assert_eq!(ran.status, 0, "{ran:?}");
            let ran = ringer(&["image", "show", "--json", image]);
            assert!(
                ran.stdout.contains(&format!("\"size\": {bytes},")),
                "{ran:?}"
            );
        }
    }
    qemu_img(&["check", "-q", &disk_file]);
    let ran = ringer(&["image", "show", &disk_file]);
    assert!(
        ran.stdout.contains("qcow2") && ran.stdout.contains("1 GiB"),
        "{ran:?}"
    );
}

#[test]
fn behind_the_end_of_an_overlay_nothing_of_the_base_comes_up() {
    let folder = Folder::new();
    let original = folder.base("base.img", &mut Dice(80));
    let (base, kept) = (folder.text("base.img"), folder.text("kept.qcow2"));
    drop(disk(&format!("{base},overlay={kept}")));
    for (size, shrink) in [("1M", true), ("4M", false)] {
        let mut args = vec!["image", "resize", &kept, size];
        args.extend(shrink.then_some("--shrink"));
        let ran = ringer(&args);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    let mut expected = original[..1 << 20].to_vec();
    expected.resize(4 << 20, 0);
    assert!(content(&mut *disk(&kept).backend) == expected);
    agrees(Path::new(&kept), &expected);
}

#[test]
fn a_read_only_image_takes_nothing() {
    let folder = Folder::new();
    let path = folder.path("disk.qcow2");
    create::filled(&path, ImageFormat::Qcow2, SIZE, false, |_| Ok(())).unwrap();
    let before = fs::read(&path).unwrap();
    let mut opened = disk(&format!("{},ro", path.display()));
    assert!(opened.backend.write(0, &[1; 512]).is_err());
    assert!(opened.backend.discard(0, 512).is_err());
    assert!(opened.backend.write_zeroes(0, 512, true).is_err());
    opened.backend.flush().unwrap();
    drop(opened);
    assert!(fs::read(&path).unwrap() == before);
}
