//! Links the tests as firmware, at the start of RAM.
use std::path::Path;

/// Tests that are found by their symbols.
const WITH_SYMBOLS: &[&str] = &["htif"];

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-arg=-T{here}/../bare/link.ld");
    println!("cargo:rustc-link-arg=--defsym=BASE=0x80000000");
    println!("cargo:rustc-link-arg=-zmax-page-size=64");
    println!("cargo:rerun-if-changed=../bare/link.ld");
    let tests = Path::new(&here).join("src/bin");
    println!("cargo:rerun-if-changed={}", tests.display());
    for test in std::fs::read_dir(tests).expect("src/bin is part of the package") {
        let path = test.expect("a readable folder").path();
        let name = path
            .file_stem()
            .and_then(|s| s.to_str())
            .expect("a plain name");
        if !WITH_SYMBOLS.contains(&name) {
            println!("cargo:rustc-link-arg-bin={name}=-s");
        }
    }
}
