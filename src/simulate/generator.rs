//! The stream: which event comes next, when, and with which fault.
//!
//! Called once a record by whoever sends it. Knows no clock: the time comes with the call where events are of now.
//! Invariant: whatever the number of partitions, and as long as a key goes to one of them, a late record is late there
//! (an earlier record of its own key has moved time past it) and no other good record is.

use super::broken::broken;
use super::event::{Event, EventType};
use super::expected::{Expected, HOUR};
use super::rng::Rng;
use std::collections::VecDeque;

/// Records among which the original of a duplicate is, at most.
const DISTANCE: usize = 1_000;
/// Late records lie in the six hours before the last that is late enough.
const LATE_RANGE: i64 = 6 * HOUR;

/// Shares of all records, each from 0 to 1, together at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    pub duplicates: f64,
    pub disorder: f64,
    pub late: f64,
    pub broken: f64,
}

/// Seconds between two events: exponential around the middle, clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    pub min: f64,
    pub max: f64,
}

impl Spacing {
    fn draw(self, rng: &mut Rng) -> f64 {
        rng.exponential((self.min + self.max) / 2.0).clamp(self.min, self.max)
    }
}

/// Where event times come from; all in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The time of the call.
    Now,
    /// From a start, by the spacing, up to an end.
    Walk { start: i64, end: Option<i64> },
    /// So many records, evenly over a span.
    Spread { start: i64, span: i64, records: u64 },
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub users: u64,
    pub spacing: Spacing,
    pub shares: Shares,
    pub times: Times,
    /// How late an event may be, in ms, and still count.
    pub grace: i64,
    /// All records, faults included; none: for ever, or to the end of the times.
    pub records: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 0,
            users: 1_000,
            spacing: Spacing { min: 0.1, max: 5.0 },
            shares: Shares::default(),
            times: Times::Now,
            grace: 600_000,
            records: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Behind the event before it, within half of the grace.
    Disordered,
    /// Its hour ended more than the grace and one hour ago.
    Late,
    /// The same bytes as an earlier record, with the same key.
    Duplicate,
    Broken,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Disordered => "disordered",
            Kind::Late => "late",
            Kind::Duplicate => "duplicate",
            Kind::Broken => "broken",
        }
    }
}

/// One record to send.
#[derive(Clone, Debug)]
pub struct Made {
    pub key: String,
    pub value: Vec<u8>,
    /// When it is sent, in ms since 1970: the record's own timestamp.
    pub timestamp: i64,
    pub kind: Kind,
    /// None: broken.
    pub event_type: Option<EventType>,
    /// Seconds to the next one, in the seed's rhythm.
    pub spacing: f64,
}

/// A whole event that was sent.
struct Sent {
    at: i64,
    event: Event,
}

pub struct Generator {
    settings: Settings,
    rng: Rng,
    made: u64,
    /// The time of the last event, for those that walk.
    walked: f64,
    recent: VecDeque<Sent>,
    expected: Expected,
}

impl Generator {
    pub fn new(settings: Settings) -> Generator {
        let rng = Rng::new(settings.seed);
        Generator { settings, rng, made: 0, walked: 0.0, recent: VecDeque::new(), expected: Expected::default() }
    }

    /// What all records so far come to.
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The next record; none at the end. `now` counts only where event times are those of the call.
    pub fn make(&mut self, now: i64) -> Option<Made> {
        if self.settings.records.is_some_and(|all| self.made >= all) {
            return None;
        }
        let spacing = self.settings.spacing.draw(&mut self.rng);
        let time = self.time(now, spacing)?;
        self.made += 1;
        let (kind, sent_at, event) = self.choose(time);
        self.expected.take(kind, &event);
        let value = match kind {
            Kind::Broken => broken(&event, &mut self.rng).1,
            _ => event.json().into_bytes(),
        };
        let event_type = (kind != Kind::Broken).then_some(event.kind);
        let made = Made { key: event.key(), value, timestamp: sent_at, kind, event_type, spacing };
        if matches!(kind, Kind::Plain | Kind::Disordered) {
            self.recent.push_back(Sent { at: sent_at, event });
            if self.recent.len() > DISTANCE {
                self.recent.pop_front();
            }
        }
        Some(made)
    }

    fn time(&mut self, now: i64, spacing: f64) -> Option<i64> {
        match self.settings.times {
            Times::Now => Some(now),
            Times::Walk { start, end } => {
                let time = start + (self.walked * 1000.0) as i64;
                self.walked += spacing;
                end.is_none_or(|end| time < end).then_some(time)
            }
            Times::Spread { start, span, records } => {
                let place = (self.made as f64 + self.rng.unit()) / records.max(1) as f64;
                Some(start + ((place * span as f64) as i64).min(span - 1))
            }
        }
    }

    fn choose(&mut self, time: i64) -> (Kind, i64, Event) {
        let shares = self.settings.shares;
        let mut draw = self.rng.unit();
        for (share, kind) in [
            (shares.duplicates, Kind::Duplicate),
            (shares.disorder, Kind::Disordered),
            (shares.late, Kind::Late),
            (shares.broken, Kind::Broken),
        ] {
            if draw < share {
                return self.faulty(kind, time);
            }
            draw -= share;
        }
        (Kind::Plain, time, self.event(time))
    }

    fn event(&mut self, time: i64) -> Event {
        let user = self.rng.range(1, self.settings.users + 1);
        self.event_of(user, time)
    }

    fn event_of(&mut self, user: u64, time: i64) -> Event {
        Event::draw(EventType::draw(&mut self.rng), user, time, &mut self.rng)
    }

    /// A fault that cannot be had yet is a plain event: nothing can be sent again, or be late, at the beginning.
    fn faulty(&mut self, kind: Kind, time: i64) -> (Kind, i64, Event) {
        let had = match kind {
            Kind::Duplicate => self.again(time).map(|(at, event)| (kind, at, event)),
            Kind::Late => self.late().map(|event| (kind, time, event)),
            Kind::Disordered => {
                let back = self.rng.range(1_000, (self.settings.grace / 2).max(1_001) as u64) as i64;
                let start = match self.settings.times {
                    Times::Now => i64::MIN,
                    Times::Walk { start, .. } | Times::Spread { start, .. } => start,
                };
                (time - back >= start).then(|| (kind, time, self.event(time - back)))
            }
            Kind::Broken | Kind::Plain => Some((kind, time, self.event(time))),
        };
        had.unwrap_or_else(|| (Kind::Plain, time, self.event(time)))
    }

    /// An event that was sent within four tenths of the grace: with half of it for disorder, its hour is still open. Where
    /// events are sparse the last one is sent again at once.
    fn again(&mut self, time: i64) -> Option<(i64, Event)> {
        let since = time - self.settings.grace * 4 / 10;
        let from = self.recent.partition_point(|sent| sent.at < since);
        if from == self.recent.len() {
            return self.recent.back().map(|last| (last.at + 1, last.event.clone()));
        }
        let place = self.rng.range(from as u64, self.recent.len() as u64) as usize;
        Some((time, self.recent[place].event.clone()))
    }

    /// Of a user whose earlier event has moved time on that user's partition: an hour and the grace past it.
    fn late(&mut self) -> Option<Event> {
        if self.recent.is_empty() {
            return None;
        }
        let place = self.rng.range(0, self.recent.len() as u64) as usize;
        let Event { user, time: moved, .. } = self.recent[place].event;
        let end = (moved - self.settings.grace - HOUR).div_euclid(HOUR) * HOUR;
        let back = self.rng.range(1, LATE_RANGE as u64) as i64;
        Some(self.event_of(user, end - back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    const START: i64 = 1_767_261_600_000; // 2026-01-01T10:00:00Z

    fn faulty(records: u64) -> Settings {
        let shares = Shares { duplicates: 0.05, disorder: 0.05, late: 0.01, broken: 0.01 };
        let times = Times::Spread { start: START, span: 6 * HOUR, records };
        Settings { seed: 11, shares, times, records: Some(records), ..Settings::default() }
    }

    fn all(settings: Settings) -> (Vec<Made>, Expected) {
        let mut generator = Generator::new(settings);
        let made = std::iter::from_fn(|| generator.make(0)).collect();
        (made, generator.expected().clone())
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_another_does_not() {
        let bytes = |seed| all(Settings { seed, ..faulty(500) }).0.into_iter().map(|m| m.value).collect::<Vec<_>>();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn shares_are_what_was_asked_for() {
        let (made, expected) = all(faulty(40_000));
        assert_eq!((made.len() as u64, expected.sent), (40_000, 40_000));
        for (name, count, share) in [
            ("duplicates", expected.duplicates, 0.05),
            ("disordered", expected.disordered, 0.05),
            ("late", expected.late, 0.01),
            ("broken", expected.broken, 0.01),
        ] {
            let wanted = share * 40_000.0;
            assert!((count as f64 - wanted).abs() < wanted * 0.15, "{name}: {count}, wanted about {wanted}");
        }
        assert_eq!(expected.good + expected.duplicates + expected.broken, expected.sent);
    }

    /// Recomputed from the bytes alone, one partition a key: the worst case for lateness.
    #[test]
    fn late_is_late_on_its_own_partition_and_the_rest_is_in_time() {
        let (made, expected) = all(faulty(40_000));
        let (mut times, mut seen, mut originals) = (HashMap::new(), HashSet::new(), HashMap::new());
        let mut most: i64 = 0;
        for (at, record) in made.iter().enumerate().filter(|(_, m)| m.kind != Kind::Broken) {
            let json: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
            let time: jiff::Timestamp = json["timestamp"].as_str().unwrap().parse().unwrap();
            let end = time.as_millisecond().div_euclid(HOUR) * HOUR + HOUR;
            let own = times.entry(record.key.clone()).or_insert(i64::MIN);
            let is_new = seen.insert(record.value.clone());
            assert_eq!(is_new, record.kind != Kind::Duplicate);
            match record.kind {
                Kind::Late => assert!(end + 600_000 + HOUR <= *own, "late by an hour past the grace"),
                // Against the time of the whole stream, which no partition is ahead of.
                _ => assert!(end + 600_000 > most.max(record.timestamp), "{:?} would be late", record.kind),
            }
            if record.kind == Kind::Duplicate {
                assert!(at - originals[&record.value] <= 2 * DISTANCE);
            }
            originals.insert(record.value.clone(), at);
            (*own, most) = ((*own).max(time.as_millisecond()), most.max(time.as_millisecond()));
        }
        assert_eq!(seen.len() as u64, expected.good);
    }

    #[test]
    fn what_is_expected_is_what_the_bytes_say() {
        let (made, expected) = all(faulty(20_000));
        let mut rows: HashMap<(i64, String), (u64, HashSet<String>)> = HashMap::new();
        for record in made.iter().filter(|m| matches!(m.kind, Kind::Plain | Kind::Disordered)) {
            let json: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
            let time: jiff::Timestamp = json["timestamp"].as_str().unwrap().parse().unwrap();
            let hour = time.as_millisecond().div_euclid(HOUR) * HOUR;
            let row = rows.entry((hour, json["event_type"].as_str().unwrap().to_owned())).or_default();
            row.0 += 1;
            row.1.insert(json["user_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(rows.len(), expected.hours.len());
        for ((hour, kind), cell) in &expected.hours {
            let (total, users) = &rows[&(*hour, kind.name().to_owned())];
            assert_eq!((*total, users.len() as u64), (cell.total_events, cell.unique_users()));
        }
    }

    #[test]
    fn times_walk_in_the_rhythm_of_the_seed_and_end() {
        let times = Times::Walk { start: START, end: Some(START + HOUR) };
        let (made, _) = all(Settings { times, ..Settings::default() });
        assert!((1_000..3_000).contains(&made.len()), "{} in an hour", made.len());
        for pair in made.windows(2) {
            let apart = pair[1].timestamp - pair[0].timestamp;
            assert!((99..=5_001).contains(&apart), "{apart} ms apart");
        }
        assert!(made.last().unwrap().timestamp < START + HOUR);
    }

    #[test]
    fn sparse_events_are_sent_again_at_once() {
        let (made, expected) = all(faulty(60));
        assert!(made.iter().filter(|m| m.kind == Kind::Duplicate).count() as u64 == expected.duplicates);
        let shares = Shares { duplicates: 0.5, ..Shares::default() };
        let (made, expected) = all(Settings { shares, ..faulty(60) });
        assert!(expected.duplicates > 10);
        for pair in made.windows(2).filter(|p| p[1].kind == Kind::Duplicate && p[0].kind == Kind::Plain) {
            assert!(pair[1].timestamp >= pair[0].timestamp);
        }
    }
}
