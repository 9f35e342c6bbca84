//! The privilege mode a hart runs in (Privileged 1.2): a nominal privilege, and whether the
//! hart is virtualised (the V bit of the H extension; always clear while H is absent).

/// Nominal privilege, as encoded in `MPP` and in CSR numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Privilege {
    /// Applications.
    User = 0,
    /// Kernels.
    Supervisor = 1,
    /// Firmware.
    Machine = 3,
}

impl Privilege {
    /// From its encoding; 2 is reserved.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            0 => Some(Self::User),
            1 => Some(Self::Supervisor),
            3 => Some(Self::Machine),
            _ => None,
        }
    }
}

/// The mode a hart runs in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mode {
    /// The nominal privilege.
    pub privilege: Privilege,
    /// Whether this is VU or VS rather than U or S.
    pub virtualised: bool,
}

impl Mode {
    /// Machine mode.
    pub const M: Self = Self {
        privilege: Privilege::Machine,
        virtualised: false,
    };
    /// Supervisor mode; HS where there is H.
    pub const S: Self = Self {
        privilege: Privilege::Supervisor,
        virtualised: false,
    };
    /// User mode.
    pub const U: Self = Self {
        privilege: Privilege::User,
        virtualised: false,
    };

    /// A short name: `M`, `S`, `U`, `VS`, `VU`.
    pub const fn name(self) -> &'static str {
        match (self.privilege, self.virtualised) {
            (Privilege::Machine, _) => "M",
            (Privilege::Supervisor, false) => "S",
            (Privilege::Supervisor, true) => "VS",
            (Privilege::User, false) => "U",
            (Privilege::User, true) => "VU",
        }
    }
}
