//! The loader of kernels: ELF, Image, compressed or not.

/// Recognises a kernel, of at most 16 MiB.
pub fn run(data: &[u8]) {
    // A refusal is an answer.
    let _ = ringer::loader::embedded(data, 16 << 20);
}
