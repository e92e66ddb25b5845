//! An estimate of how many different ids were seen: HyperLogLog of 4 096 registers, standard error 1.6 %.
//!
//! Flajolet and others, "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007; the
//! estimator is that of Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6, which
//! needs no tables and no ranges. Used where the exact ids have no room left. Invariant: its size never changes.

use serde::{Deserialize, Serialize};

/// Version of the encoding.
pub(crate) const VERSION: u8 = 1;

const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;
/// The largest rank: what is left of 64 bits, and one.
const MOST: usize = 64 - BITS as usize + 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sketch {
    registers: Vec<u8>,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch { registers: vec![0; REGISTERS] }
    }
}

impl Sketch {
    /// Whether adding this hash would change anything.
    pub fn changes(&self, hash: u64) -> bool {
        let (register, rank) = place(hash);
        self.registers.get(register).is_some_and(|held| *held < rank)
    }

    pub fn add(&mut self, hash: u64) {
        let (register, rank) = place(hash);
        if let Some(held) = self.registers.get_mut(register) {
            *held = rank.max(*held);
        }
    }

    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let mut counts = [0u32; MOST + 1];
        self.registers.iter().for_each(|rank| counts[usize::from(*rank).min(MOST)] += 1);
        let mut z = m * tau(1.0 - f64::from(counts[MOST]) / m);
        for count in counts[1..MOST].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

/// The register of a hash, and the rank that it has there.
fn place(hash: u64) -> (usize, u8) {
    let rest = hash << BITS;
    let rank = (rest.leading_zeros() + 1).min(MOST as u32);
    ((hash >> (64 - BITS)) as usize, rank as u8)
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn an_estimate_is_within_five_standard_errors_whatever_the_size() {
        for n in [0u64, 1, 10, 1_000, 5_000, 20_000, 300_000] {
            let mut sketch = Sketch::default();
            (0..n).for_each(|i| sketch.add(xxh3_64(&i.to_be_bytes())));
            let off = sketch.estimate().abs_diff(n) as f64;
            assert!(off <= 0.082 * n as f64, "{n} was estimated {}", sketch.estimate());
        }
    }

    #[test]
    fn an_id_that_comes_again_changes_nothing() {
        let mut sketch = Sketch::default();
        (0..100u64).for_each(|i| sketch.add(xxh3_64(&i.to_be_bytes())));
        assert!((0..100u64).all(|i| !sketch.changes(xxh3_64(&i.to_be_bytes()))));
    }
}
