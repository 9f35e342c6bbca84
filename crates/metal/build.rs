//! Links the monitor to where it is loaded, if it is built for bare RISC-V.
fn main() {
    println!("cargo:rerun-if-changed=link.ld");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("riscv64") && target.ends_with("none-elf") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-bins=-T{here}/link.ld");
    }
}
