//! The extensions that instructions come from.

/// An extension, or the part of the privileged architecture, that brings an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Extension {
    /// The base, RV64I.
    I,
    /// Multiplication and division.
    M,
    /// Atomics.
    A,
    /// Single precision.
    F,
    /// Double precision.
    D,
    /// Half precision; Zfhmin is its loads, stores, moves and conversions between formats.
    Zfh,
    /// More floating-point instructions.
    Zfa,
    /// CSR access.
    Zicsr,
    /// Instruction-fetch fence.
    Zifencei,
    /// Address generation.
    Zba,
    /// Basic bit manipulation.
    Zbb,
    /// Carry-less multiplication.
    Zbc,
    /// Single bits.
    Zbs,
    /// Bit manipulation for cryptography.
    Zbkb,
    /// Crossbar permutations.
    Zbkx,
    /// Conditional zero.
    Zicond,
    /// Cache-block management.
    Zicbom,
    /// Cache-block zeroing.
    Zicboz,
    /// Wait on reservation set.
    Zawrs,
    /// May-be operations.
    Zimop,
    /// Compressed may-be operations.
    Zcmop,
    /// Compare and swap.
    Zacas,
    /// Byte and halfword atomics.
    Zabha,
    /// Machine level of the privileged architecture.
    Machine,
    /// Supervisor level of the privileged architecture.
    Supervisor,
    /// Fine-grained invalidation of translations.
    Svinval,
    /// Hypervisor.
    H,
}
