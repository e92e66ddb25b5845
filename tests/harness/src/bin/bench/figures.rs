//! Percentiles and how they are printed. Called by both benchmarks. Invariant: a percentile is a value that was measured,
//! never one between two.

use serde_json::{Value, json};

/// Values in the order of their size.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(mut values: Vec<f64>) -> Sample {
        values.sort_by(f64::total_cmp);
        Sample(values)
    }

    /// The smallest value that `percent` of all do not exceed; NaN of nothing.
    pub fn at(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn max(&self) -> f64 {
        self.at(100.0)
    }

    /// `name  p50  p90  p99  max`
    pub fn row(&self, name: &str) -> String {
        format!("{name:<24}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", self.at(50.0), self.at(90.0), self.at(99.0), self.max())
    }

    pub fn json(&self) -> Value {
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        json!({ "p50": round(self.at(50.0)), "p90": round(self.at(90.0)), "p99": round(self.at(99.0)), "max": round(self.max()) })
    }
}

pub fn header(of: &str) -> String {
    format!("{of:<24}{:>9}{:>9}{:>9}{:>9}", "p50", "p90", "p99", "max")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sample = Sample::new((1..=200).rev().map(f64::from).collect());
        assert_eq!([50.0, 90.0, 99.0, 100.0].map(|p| sample.at(p)), [100.0, 180.0, 198.0, 200.0]);
        assert_eq!(Sample::new(vec![7.0]).at(50.0), 7.0);
        assert!(Sample::default().at(50.0).is_nan());
    }
}
