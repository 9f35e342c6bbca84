//! Registers as operands, by their names in the calling convention.

/// An integer register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct X(pub u8);

/// A floating-point register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct F(pub u8);

/// A register of either kind.
pub trait Register: Copy {
    /// Whether the kind is floating-point.
    const FLOAT: bool;
    /// Its number.
    fn number(self) -> u8;
}

impl Register for X {
    const FLOAT: bool = false;
    fn number(self) -> u8 {
        self.0
    }
}

impl Register for F {
    const FLOAT: bool = true;
    fn number(self) -> u8 {
        self.0
    }
}

macro_rules! registers {
    ($kind:ident: $($name:ident)*) => { registers!(@ $kind 0; $($name)*); };
    (@ $kind:ident $number:expr; $name:ident $($rest:ident)*) => {
        #[doc = concat!("`", stringify!($name), "`, by its number")]
        pub const $name: $kind = $kind($number);
        registers!(@ $kind $number + 1; $($rest)*);
    };
    (@ $kind:ident $number:expr;) => {};
}

registers! { X:
    ZERO RA SP GP TP T0 T1 T2 S0 S1 A0 A1 A2 A3 A4 A5 A6 A7
    S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 T3 T4 T5 T6
}
registers! { F:
    FT0 FT1 FT2 FT3 FT4 FT5 FT6 FT7 FS0 FS1 FA0 FA1 FA2 FA3 FA4 FA5 FA6 FA7
    FS2 FS3 FS4 FS5 FS6 FS7 FS8 FS9 FS10 FS11 FT8 FT9 FT10 FT11
}

#[cfg(test)]
mod tests {
    use super::{A0, FT11, S2, T6, ZERO};

    #[test]
    fn numbers() {
        assert_eq!((ZERO.0, A0.0, S2.0, T6.0, FT11.0), (0, 10, 18, 31, 31));
    }
}
