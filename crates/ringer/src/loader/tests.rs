//! Files good, foreign and broken, made here byte by byte.

use std::io::Write;
use std::path::Path;

use super::*;

const LIMIT: u64 = 64 << 20;

fn linux_image(len: usize) -> Vec<u8> {
    let mut bytes = vec![0x13; len];
    bytes[0x08..0x10].copy_from_slice(&0x20_0000u64.to_le_bytes());
    bytes[0x10..0x18].copy_from_slice(&0x30_0000u64.to_le_bytes());
    bytes[0x18..0x20].fill(0);
    bytes[0x30..0x38].copy_from_slice(b"RISCV\0\0\0");
    bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
    bytes
}

/// An ELF64 program of one segment at 0x8000_0000 with a symbol table naming `tohost`.
pub fn elf_program(code: &[u8]) -> Vec<u8> {
    let names = b"\0tohost\0begin_signature\0end_signature\0";
    let code_at = 64 + 56;
    let symbols_at = code_at + code.len();
    let names_at = symbols_at + 4 * 24;
    let sections_at = names_at + names.len();
    let mut out = Vec::new();
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let half = |out: &mut Vec<u8>, v: u16| out.extend_from_slice(&v.to_le_bytes());
    let word = |out: &mut Vec<u8>, v: u32| out.extend_from_slice(&v.to_le_bytes());
    let long = |out: &mut Vec<u8>, v: u64| out.extend_from_slice(&v.to_le_bytes());
    half(&mut out, 2);
    half(&mut out, 243);
    word(&mut out, 1);
    long(&mut out, 0xffff_ffff_8000_0000);
    long(&mut out, 64);
    long(&mut out, sections_at as u64);
    word(&mut out, 0);
    for v in [64, 56, 1, 64, 3, 0] {
        half(&mut out, v);
    }
    word(&mut out, 1);
    word(&mut out, 7);
    long(&mut out, code_at as u64);
    long(&mut out, 0xffff_ffff_8000_0000);
    long(&mut out, 0x8000_0000);
    long(&mut out, code.len() as u64);
    long(&mut out, 0x1000);
    long(&mut out, 0x1000);
    out.extend_from_slice(code);
    out.extend_from_slice(&[0; 24]);
    for (name, value) in [(1u32, 0x40u64), (8, 0x100), (24, 0x1000)] {
        word(&mut out, name);
        half(&mut out, 0x11);
        half(&mut out, 1);
        long(&mut out, 0xffff_ffff_8000_0000 + value);
        long(&mut out, 0);
    }
    out.extend_from_slice(names);
    out.extend_from_slice(&[0; 64]);
    for (kind, at, len, link, entry) in [
        (2u32, symbols_at, 4 * 24, 2u32, 24u64),
        (3, names_at, names.len(), 0, 0),
    ] {
        word(&mut out, 0);
        word(&mut out, kind);
        long(&mut out, 0);
        long(&mut out, 0);
        long(&mut out, at as u64);
        long(&mut out, len as u64);
        word(&mut out, link);
        word(&mut out, 1);
        long(&mut out, 8);
        long(&mut out, entry);
    }
    out
}

fn load(bytes: &[u8]) -> Result<Payload, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    kernel(file.path(), LIMIT).map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    })
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_packed(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn zboot(method: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = b"MZ\0\0zimg".to_vec();
    out.extend_from_slice(&64u32.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.resize(24, 0);
    out.extend_from_slice(method);
    out.resize(64, 0);
    out.extend_from_slice(payload);
    out
}

#[test]
fn an_image_is_recognised_under_any_wrapping() {
    let image = linux_image(8192);
    let expected = Payload::Image(LinuxImage {
        bytes: image.clone(),
        text_offset: 0x20_0000,
        size: 0x30_0000,
    });
    assert_eq!(load(&image).unwrap(), expected);
    assert_eq!(load(&gzipped(&image)).unwrap(), expected);
    assert_eq!(load(&zstd_packed(&image)).unwrap(), expected);
    assert_eq!(load(&zboot(b"gzip", &gzipped(&image))).unwrap(), expected);
    assert_eq!(
        load(&zboot(b"zstd22", &zstd_packed(&image))).unwrap(),
        expected
    );
    assert_eq!(
        load(&gzipped(&zboot(b"gzip", &gzipped(&image)))).unwrap(),
        expected
    );
}

#[test]
fn an_elf_is_placed_by_physical_addresses() {
    let Payload::Elf(elf) = load(&elf_program(&[0x13, 0, 0, 0])).unwrap() else {
        panic!("not recognised as ELF");
    };
    assert_eq!(elf.entry, 0x8000_0000);
    assert_eq!(elf.segments.len(), 1);
    assert_eq!(elf.segments[0].address, 0x8000_0000);
    assert_eq!(elf.segments[0].bytes, [0x13, 0, 0, 0]);
    assert_eq!(elf.segments[0].size, 0x1000);
    assert_eq!(elf.symbols.tohost, Some(0x8000_0040));
    assert_eq!(elf.symbols.begin_signature, Some(0x8000_0100));
    assert_eq!(elf.symbols.end_signature, Some(0x8000_1000));
    assert_eq!(elf.symbols.fromhost, None);
}

#[test]
fn segments_that_share_their_bytes_are_no_bomb() {
    let page = [0x13; 4096];
    let file = elf_program(&page);
    let limit = |limit| elf::parse(&file, limit).map(|elf| elf.fits(limit));
    assert_eq!(limit(0x1000), Ok(true));
    assert!(limit(0xfff).is_err());
    // All 200 program headers are the first one: 800 KiB from a file of 16.
    let mut bomb = file.clone();
    let headers = file[64..120].repeat(200);
    bomb[0x20..0x28].copy_from_slice(&(file.len() as u64).to_le_bytes());
    bomb[0x38..0x3a].copy_from_slice(&200u16.to_le_bytes());
    bomb.extend_from_slice(&headers);
    assert!(elf::parse(&bomb, 64 << 10).is_err());
    assert!(elf::parse(&bomb, 1 << 20).is_ok());
}

#[test]
fn kernels_for_others_are_named() {
    let mut x86 = vec![0; 4096];
    x86[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    x86[0x202..0x206].copy_from_slice(b"HdrS");
    assert!(load(&x86).unwrap_err().contains("x86"));
    let mut arm = linux_image(4096);
    arm[0x30..0x38].fill(0);
    arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
    assert!(load(&arm).unwrap_err().contains("ARM"));
    assert!(load(&gzipped(&arm)).unwrap_err().contains("ARM"));
    let mut elf = elf_program(&[0; 4]);
    elf[18] = 62;
    assert!(load(&elf).unwrap_err().contains("x86-64"));
    let mut elf = elf_program(&[0; 4]);
    elf[4] = 1;
    assert!(load(&elf).unwrap_err().contains("32-bit"));
}

#[test]
fn broken_files_are_refused_in_one_line() {
    assert!(load(b"").unwrap_err().contains("empty"));
    assert!(load(&[0x5a; 100]).unwrap_err().contains("no RISC-V kernel"));
    let image = linux_image(8192);
    let packed = gzipped(&image);
    assert!(
        load(&packed[..packed.len() / 2])
            .unwrap_err()
            .contains("damaged gzip")
    );
    let packed = zstd_packed(&image);
    assert!(
        load(&packed[..packed.len() / 2])
            .unwrap_err()
            .contains("damaged zstd")
    );
    assert!(load(&zboot(b"lzma", &[1; 9])).unwrap_err().contains("lzma"));
    assert!(load(b"\xfd7zXZ\0aaaaaa").unwrap_err().contains("unxz"));
    assert!(load(&gzipped(b"")).unwrap_err().contains("nothing in it"));
    let bomb = gzipped(&vec![0; (LIMIT + 1) as usize]);
    assert!(load(&bomb).unwrap_err().contains("does not fit"));
    let error = kernel(Path::new("/nowhere/at/all"), LIMIT).unwrap_err();
    assert!(error.to_string().contains("no such file"));
    let error = kernel(Path::new("/"), LIMIT).unwrap_err();
    assert!(error.to_string().contains("directory"));
}

#[test]
fn every_truncation_and_every_flipped_header_byte_is_survived() {
    let elf = elf_program(&[0x13, 0, 0, 0]);
    for len in 1..elf.len() {
        let _ = load(&elf[..len]);
    }
    for at in 0..elf.len() {
        for value in [0, 0x7f, 0xff] {
            let mut bytes = elf.clone();
            bytes[at] = value;
            let _ = load(&bytes);
        }
    }
    let boot = zboot(b"gzip", &gzipped(&linux_image(256)));
    for at in 8..16 {
        let mut bytes = boot.clone();
        bytes[at] = 0xff;
        assert!(load(&bytes).is_err());
    }
}

#[test]
fn firmware_may_be_raw() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0x6f, 0, 0, 0]).unwrap();
    assert_eq!(
        firmware(file.path(), LIMIT).unwrap(),
        Payload::Raw(vec![0x6f, 0, 0, 0])
    );
}
