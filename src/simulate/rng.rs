//! Random numbers from a seed (SplitMix64): the same on every machine.
//!
//! Used by every file of this room. Invariant: the sequence depends on the seed alone, and has no value twice.

pub(super) struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A step and a mixing that can both be undone: 2^64 draws are 2^64 different numbers.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to `end`, without it.
    pub fn range(&mut self, from: u64, end: u64) -> u64 {
        debug_assert!(from < end, "an empty range has no number");
        from + ((u128::from(self.draw()) * u128::from(end - from)) >> 64) as u64
    }

    /// From 0 up to 1, without it.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.range(0, of.len() as u64) as usize]
    }

    /// Exponentially distributed around this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}
