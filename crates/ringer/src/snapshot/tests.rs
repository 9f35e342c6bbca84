//! Saved machines, whole and damaged.

use super::*;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn description() -> Description {
    Description {
        harts: 2,
        memory: 64 << 20,
        append: "console=ttyS0".to_string(),
        tohost: Some(0x8000_1000),
        disks: vec![SavedDisk {
            path: "/some/disk.img".into(),
            len: 4096,
            read_only: false,
            overlay: true,
            format: None,
            kept: None,
            serial: Some("A1".to_string()),
        }],
        ..Description::default()
    }
}

fn page(number: u64) -> [u8; 4096] {
    [number as u8; 4096]
}

fn save(target: &Path) {
    let mut writer = Writer::new(target).unwrap();
    writer.part("uart", b"some state").unwrap();
    writer
        .pages("disk0.overlay", |take| {
            for number in (0..700).chain([800, 900, 901]) {
                take(number, &page(number))?;
            }
            Ok(())
        })
        .unwrap();
    writer
        .layer(16384, |layer| {
            (5..300).try_for_each(|number| layer.page(number, &page(number)))
        })
        .unwrap();
    writer.finish(description()).unwrap();
}

#[test]
fn what_was_saved_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("vm");
    save(&target);
    let reader = Reader::open(&target).unwrap();
    assert_eq!(*reader.machine(), description());
    assert_eq!(reader.part("uart").unwrap(), b"some state");
    let mut seen = Vec::new();
    reader
        .pages("disk0.overlay", |first, content| {
            for (number, content) in (first..).zip(content.chunks(PAGE)) {
                assert!(*content == page(number), "{number}");
                seen.push(number);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, (0..700).chain([800, 900, 901]).collect::<Vec<u64>>());
    assert!(reader.part("hart9").is_err());
    assert_eq!(reader.layers().len(), 1);
    let segments = resolve(reader.layers(), 0);
    assert_eq!((segments[0].first, segments[0].end), (5, 300));
    // Saving again replaces it, and nothing else is left behind.
    save(&target);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_unfinished_save_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(&dir.path().join("vm")).unwrap();
    writer.part("uart", b"x").unwrap();
    assert!(writer.part("../evil", b"x").is_err());
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn other_directories_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("precious"), "x").unwrap();
    assert!(matches!(
        Writer::new(dir.path()),
        Err(SnapshotError::Occupied(_))
    ));
    assert!(Writer::new(&dir.path().join("precious")).is_err());
}

#[test]
fn every_kind_of_damage_is_noticed_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("vm");
    let refuse = |what: &str| {
        let error = Reader::open(&target).expect_err(what).to_string();
        assert!(!error.contains('\n'), "{error}");
    };
    refuse("nothing there");
    fs::create_dir(&target).unwrap();
    refuse("no manifest");
    fs::remove_dir(&target).unwrap();
    for name in ["uart", "disk0.overlay", "manifest.toml", "memory.0.table"] {
        save(&target);
        let path = target.join(name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(good.len() / 40 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            refuse(name);
        }
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        refuse(name);
        fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
        refuse(name);
        fs::remove_file(&path).unwrap();
        refuse(name);
        fs::write(&path, &good).unwrap();
        assert!(Reader::open(&target).is_ok());
    }
}

#[test]
fn a_changed_byte_of_memory_is_noticed_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("vm");
    save(&target);
    // What was just written need not be read, and what was copied must be.
    assert!(stamps::Stamps::read(&target).vouch_for(
        "uart",
        &File::open(target.join("uart")).unwrap(),
        crc32fast::hash(b"some state"),
    ));
    let data = target.join("memory.0");
    for page in [5, 100, 299] {
        let file = File::options().write(true).open(&data).unwrap();
        file.write_all_at(&[!page as u8], page * 4096 + 77).unwrap();
        let error = Reader::open(&target).unwrap_err().to_string();
        assert!(error.contains("memory.0"), "{error}");
        file.write_all_at(&[page as u8], page * 4096 + 77).unwrap();
        Reader::open(&target).unwrap();
    }
    // A page that the table does not name is never used.
    let file = File::options().write(true).open(&data).unwrap();
    file.write_all_at(b"x", 3 * 4096).unwrap();
    Reader::open(&target).unwrap();
    // The same content and time in another file: read again, and damage is seen.
    let time = file.metadata().unwrap().modified().unwrap();
    drop(file);
    let mut content = fs::read(&data).unwrap();
    content[7 * 4096] ^= 1;
    let other = target.join("other");
    fs::write(&other, &content).unwrap();
    fs::rename(&other, &data).unwrap();
    let file = File::options().write(true).open(&data).unwrap();
    file.set_modified(time).unwrap();
    assert!(Reader::open(&target).is_err());
    // Only reading it all finds what changed without a trace in the file system; so it does.
    content[7 * 4096] ^= 1;
    file.write_all_at(&content, 0).unwrap();
    Reader::open(&target).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"y", 7 * 4096).unwrap();
    file.set_modified(time).unwrap();
    Reader::open(&target).unwrap();
    assert!(Reader::open_trusting(&target, Trust::Nothing).is_err());
    // Cut short or drawn out.
    for len in [4096 * 16383, 4096 * 16384 + 1, 0] {
        file.set_len(len).unwrap();
        assert!(Reader::open(&target).is_err(), "{len}");
    }
}

#[test]
fn what_a_killed_save_has_left_is_swept_up_and_one_under_way_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(".vm.partial-1");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("memory.0"), "half").unwrap();
    let under_way = dir.path().join(".vm.partial-2");
    fs::create_dir(&under_way).unwrap();
    let lock = File::open(&under_way).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    save(&dir.path().join("vm"));
    assert!(!left.exists() && under_way.exists());
}

#[test]
fn a_machine_whose_origin_was_removed_keeps_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    save(&first);
    let reader = Reader::open(&first).unwrap();
    let save_again = || {
        let mut writer = Writer::new(&second).unwrap();
        let linked = writer.same_layers(&reader).unwrap();
        writer.same_part("uart", &reader).unwrap();
        writer
            .layer(16384, |layer| layer.page(7, &page(200)))
            .unwrap();
        writer.finish(description()).unwrap();
        linked
    };
    assert!(save_again());
    fs::remove_dir_all(&first).unwrap();
    let again = Reader::open_trusting(&second, Trust::Nothing).unwrap();
    assert_eq!(again.layers().len(), 2);
    assert_eq!(again.part("uart").unwrap(), b"some state");
    // With no name left, files cannot be shared any more; what is open can still be read.
    fs::remove_dir_all(&second).unwrap();
    assert!(!save_again());
    let again = Reader::open_trusting(&second, Trust::Nothing).unwrap();
    assert_eq!(again.layers().len(), 1);
    assert_eq!(again.part("uart").unwrap(), b"some state");
}
