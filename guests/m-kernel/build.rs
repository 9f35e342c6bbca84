//! Links the kernel as firmware, with its own script: it has a trampoline page and user code.
fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-arg-bins=-T{here}/kernel.ld");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=64");
    println!("cargo:rustc-link-arg-bins=-s");
    println!("cargo:rerun-if-changed=kernel.ld");
}
