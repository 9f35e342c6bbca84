//! Saved machines, whole and damaged.

use super::*;
use std::fs;
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
        .pages("memory", |take| {
            for number in (0..700).chain([800, 900, 901]) {
                take(number, &page(number))?;
            }
            Ok(())
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
        .pages("memory", |number, content| {
            assert_eq!(content, page(number));
            seen.push(number);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, (0..700).chain([800, 900, 901]).collect::<Vec<u64>>());
    assert!(reader.part("hart9").is_err());
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
    for name in ["uart", "memory", "manifest.toml"] {
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
