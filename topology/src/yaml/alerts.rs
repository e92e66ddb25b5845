//! The section `alerts`: from where on something is too much. Exported as gauges, which alert rules read.
//!
//! Called by the settings. Knows nothing of metrics. Invariant: every threshold has its default here and nowhere else.

use super::fields::{Fields, Mistakes};
use super::scalars;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alerts {
    /// Share of records that fail.
    pub error_rate: f64,
    /// Offsets that are not committed.
    pub consumer_lag: f64,
    /// From a record's arrival to its commit.
    pub processing_latency: Duration,
    /// A task further behind is stale.
    pub freshness: Duration,
    /// Share of time in which tasks are to be fresh.
    pub objective: f64,
    pub restore: Duration,
    pub clock_skew: Duration,
    /// How long a sink may wait for its database.
    pub sink_stalled: Duration,
    /// Share of records that become dead letters.
    pub dead_letters: f64,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            error_rate: 0.05,
            consumer_lag: 1000.0,
            processing_latency: Duration::from_secs(5),
            freshness: Duration::from_secs(60),
            objective: 0.99,
            restore: Duration::from_secs(300),
            clock_skew: Duration::from_secs(2),
            sink_stalled: Duration::from_secs(60),
            dead_letters: 0.1,
        }
    }
}

pub(super) fn read(mut fields: Fields<'_>, mistakes: &mut Mistakes) -> Alerts {
    let mut a = Alerts::default();
    for (name, place) in
        [("error_rate", &mut a.error_rate), ("objective", &mut a.objective), ("dead_letters", &mut a.dead_letters)]
    {
        *place = fields.read(name, share, mistakes).unwrap_or(*place);
    }
    a.consumer_lag = fields.read("consumer_lag", offsets, mistakes).unwrap_or(a.consumer_lag);
    for (name, place) in [
        ("processing_latency", &mut a.processing_latency),
        ("freshness", &mut a.freshness),
        ("restore", &mut a.restore),
        ("clock_skew", &mut a.clock_skew),
        ("sink_stalled", &mut a.sink_stalled),
    ] {
        *place = fields.read(name, time, mistakes).unwrap_or(*place);
    }
    fields.done(mistakes);
    a
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| format!("is '{text}'; write a share between 0 and 1, as 0.05"))
}

fn offsets(text: &str) -> Result<f64, String> {
    let offsets = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    offsets.ok_or_else(|| format!("is '{text}'; write a number of offsets, as 1000"))
}

/// A duration, or seconds without a unit, which is how variables of other systems say it.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.001..1e9).contains(s));
    seconds.map_or_else(|| scalars::positive_duration(text), |seconds| Ok(Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(alerts: &str) -> Result<Alerts, String> {
        let text = format!(
            "app: a\nkafka: {{ brokers: b }}\nalerts: {alerts}\nsources:\n  s: {{ topic: t }}\noutputs:\n  o: {{ from: s }}\n"
        );
        let loaded = super::super::parse(&text, "f", &|_| None).map_err(|e| e.to_string())?;
        Ok(loaded.settings.alerts)
    }

    #[test]
    fn thresholds_are_read_and_the_rest_stays() {
        let read = load("{ error_rate: 0.2, consumer_lag: 7, processing_latency: \"5.5\", restore: 2m }").unwrap();
        let wanted = Alerts {
            error_rate: 0.2,
            consumer_lag: 7.0,
            processing_latency: Duration::from_millis(5500),
            restore: Duration::from_secs(120),
            ..Alerts::default()
        };
        assert_eq!(read, wanted);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (alerts, says) in [
            ("{ error_rate: 5 }", "write a share between 0 and 1"),
            ("{ consumer_lag: many }", "write a number of offsets"),
            ("{ restore: soon }", "write a whole number with ms, s, m, h or d"),
            ("{ freshness: 0s }", "is zero"),
            ("{ consumer_lagg: 1 }", "did you mean 'consumer_lag'?"),
        ] {
            let said = load(alerts).unwrap_err();
            assert!(said.contains(says), "{alerts}: {said}");
        }
    }
}
