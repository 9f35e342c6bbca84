//! Random choices that a seed repeats.

/// A source of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Everything drawn follows from the seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number of the kind that finds mistakes: all widths, edges, few bits set.
    pub fn interesting(&mut self) -> u64 {
        let width = self.below(64);
        match self.below(10) {
            0 => self.below(4),
            1 => u64::MAX - self.below(4),
            2 => 1 << width,
            3 => u64::MAX << width,
            4 => (1 << width) - 1,
            5 => i64::from(self.bits() as i32) as u64,
            6 => self.bits() & self.bits() & self.bits(),
            7 => self.bits() >> width,
            _ => self.bits(),
        }
    }

    /// A floating-point register's contents: all formats, boxed well or badly, all classes.
    pub fn float(&mut self) -> u64 {
        const NAN_BOX: u64 = 0xffff_ffff;
        const EXPONENTS: [u64; 8] = [0, 1, 2, 0x3fe, 0x3ff, 0x400, 0x7fe, 0x7ff];
        let double = |dice: &mut Self| {
            let exponent = match dice.below(3) {
                0 => dice.pick(&EXPONENTS),
                1 => 0x3ff - 70 + dice.below(140),
                _ => dice.below(0x800),
            };
            let fraction = dice.interesting() & 0xf_ffff_ffff_ffff;
            dice.below(2) << 63 | exponent << 52 | fraction
        };
        let single = |dice: &mut Self| {
            let exponent = match dice.below(3) {
                0 => dice.pick(&[0, 1, 2, 0x7e, 0x7f, 0x80, 0xfe, 0xff]),
                1 => 0x7f - 40 + dice.below(80),
                _ => dice.below(0x100),
            };
            dice.below(2) << 31 | exponent << 23 | dice.interesting() & 0x7f_ffff
        };
        let half = |dice: &mut Self| {
            let exponent = match dice.below(2) {
                0 => dice.pick(&[0, 1, 0xe, 0xf, 0x10, 0x1e, 0x1f]),
                _ => dice.below(0x20),
            };
            dice.below(2) << 15 | exponent << 10 | dice.interesting() & 0x3ff
        };
        match self.below(10) {
            0..4 => double(self),
            4..7 => NAN_BOX << 32 | single(self),
            7..9 => !0xffff | half(self),
            _ => self.interesting(),
        }
    }
}
