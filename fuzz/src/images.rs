//! qcow2 images: whatever is in the file, a machine that uses it goes on, within limits.

use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use ringer::disk::layers::{self, Opening};

/// What is done to the disk comes before the image.
const WORK: usize = 32;
/// The image's file may end before what its tables point to.
const LEN: u64 = 32 << 10;
/// A disk larger than this is only used at its start.
const SPAN: u64 = 64 << 10;

/// Opens the rest of the bytes as an image, and uses it as the first bytes say.
pub fn run(data: &[u8]) {
    static QUIET: Once = Once::new();
    // What panics in the library that reads images is contained, and is not what is looked for.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let Some((work, image)) = data.split_at_checked(WORK) else {
        return;
    };
    let path = file();
    fs::write(&path, image).expect("there is room for a small file");
    let file = fs::File::options().write(true).open(&path);
    let file = file.expect("the file is ours");
    if image.len() as u64 % 2 == 0 {
        file.set_len(LEN).expect("there is room for a small file");
    }
    drop(file);
    if let Ok(image) = layers::open(&path, Opening::default()) {
        let mut disk = image.into_backend();
        let span = disk.len().min(SPAN);
        let mut buffer = [0x5a; 4096];
        for step in work.chunks_exact(4) {
            let [what, place, count, _] = *step else {
                continue;
            };
            let at = u64::from(place) * 512 % span;
            let len = (u64::from(count % 8 + 1) * 512).min(span - at);
            let part = &mut buffer[..len as usize];
            // Any answer is one.
            let _ = match what % 6 {
                0 => disk.read(at, part),
                1 => disk.write(at, part),
                2 => disk.discard(at, len),
                3 => disk.write_zeroes(at, len, true),
                4 => disk.write_zeroes(at, len, false),
                _ => disk.flush(),
            };
        }
    }
    let _ = fs::remove_file(&path);
}

/// A file for this thread alone.
fn file() -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let process = std::process::id();
    std::env::temp_dir().join(format!("ringer-fuzz-{process}-{number}.img"))
}
