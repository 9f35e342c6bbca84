//! Links the demo as a kernel, where the SBI firmware jumps to.
fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-arg=-T{here}/../bare/link.ld");
    println!("cargo:rustc-link-arg=--defsym=BASE=0x80200000");
    println!("cargo:rustc-link-arg=-zmax-page-size=64");
    println!("cargo:rustc-link-arg=-s");
    println!("cargo:rerun-if-changed=../bare/link.ld");
}
