//! What the host's processor can do, and what the machine needs of it.

/// What generated code may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// `andn`, `tzcnt`.
    pub bmi1: bool,
    /// `shlx` and the like, `rorx`.
    pub bmi2: bool,
    /// `lzcnt`.
    pub lzcnt: bool,
    /// `popcnt`.
    pub popcnt: bool,
    /// `roundsd` and the like.
    pub sse41: bool,
    /// Three-operand floating-point instructions.
    pub avx: bool,
    /// Fused multiply-add.
    pub fma: bool,
    /// Harts run side by side, so that read-modify-writes must be locked.
    pub parallel: bool,
}

impl Features {
    /// Those of this host; one hart.
    pub fn of_host() -> Self {
        Self {
            bmi1: is_x86_feature_detected!("bmi1"),
            bmi2: is_x86_feature_detected!("bmi2"),
            lzcnt: is_x86_feature_detected!("lzcnt"),
            popcnt: is_x86_feature_detected!("popcnt"),
            sse41: is_x86_feature_detected!("sse4.1"),
            avx: is_x86_feature_detected!("avx"),
            fma: is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx"),
            parallel: false,
        }
    }

    /// Those of every x86-64 processor; one hart.
    pub const fn baseline() -> Self {
        Self {
            bmi1: false,
            bmi2: false,
            lzcnt: false,
            popcnt: false,
            sse41: false,
            avx: false,
            fma: false,
            parallel: false,
        }
    }
}
