//! Records that no reader can accept: one way of being broken each.
//!
//! Called by the generator. Invariant: every way is broken for every event type, whatever the event says.

use super::event::{Event, rfc3339};
use super::rng::Rng;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breakage {
    /// Ends in the middle.
    NotJson,
    Empty,
    NoId,
    NoType,
    NoTime,
    TextForDuration,
    NumberForType,
    ListForData,
    NegativeDuration,
    UnreadableTime,
}

const ALL: &[Breakage] = &[
    Breakage::NotJson,
    Breakage::Empty,
    Breakage::NoId,
    Breakage::NoType,
    Breakage::NoTime,
    Breakage::TextForDuration,
    Breakage::NumberForType,
    Breakage::ListForData,
    Breakage::NegativeDuration,
    Breakage::UnreadableTime,
];

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Breakage::NotJson => "not JSON",
            Breakage::Empty => "empty",
            Breakage::NoId => "without event_id",
            Breakage::NoType => "without event_type",
            Breakage::NoTime => "without timestamp",
            Breakage::TextForDuration => "a text as duration",
            Breakage::NumberForType => "a number as event_type",
            Breakage::ListForData => "a list as event_data",
            Breakage::NegativeDuration => "a negative duration",
            Breakage::UnreadableTime => "an unreadable timestamp",
        })
    }
}

/// The bytes of this event, broken in one way.
pub(super) fn broken(event: &Event, rng: &mut Rng) -> (Breakage, Vec<u8>) {
    let how = *rng.pick(ALL);
    (how, bytes(how, event, rng))
}

fn bytes(how: Breakage, event: &Event, rng: &mut Rng) -> Vec<u8> {
    let id = format!(r#""event_id":"{}""#, event.parts.id);
    let kind = format!(r#""event_type":"{}""#, event.kind);
    let time = format!(r#""timestamp":"{}""#, rfc3339(event.time));
    let data = format!(r#""event_data":{}"#, event.parts.data);
    let user = format!(r#""user_id":"{}""#, event.key());
    let is = |field: &str, value: &str| format!(r#""{field}":{value}"#);
    let fields = match how {
        Breakage::Empty => return Vec::new(),
        Breakage::NotJson => {
            let whole = event.json();
            let mut end = rng.range(1, whole.len() as u64) as usize;
            while !whole.is_char_boundary(end) {
                end -= 1;
            }
            return whole.as_bytes()[..end].to_vec();
        }
        Breakage::NoId => vec![user, kind, time, data],
        Breakage::NoType => vec![id, user, time, data],
        Breakage::NoTime => vec![id, user, kind, data],
        Breakage::TextForDuration => vec![id, user, kind, time, data, is("duration_seconds", r#""fast""#)],
        Breakage::NumberForType => vec![id, user, is("event_type", "7"), time, data],
        Breakage::ListForData => vec![id, user, kind, time, is("event_data", "[]")],
        Breakage::NegativeDuration => vec![id, user, kind, time, data, is("duration_seconds", "-2.5")],
        Breakage::UnreadableTime => vec![id, user, kind, is("timestamp", r#""half past ten""#), data],
    };
    format!("{{{}}}", fields.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::event::EventType;
    use super::*;

    #[test]
    fn each_way_breaks_what_it_says_and_nothing_else() {
        let mut rng = Rng::new(1);
        let event = Event::draw(EventType::Search, 1, 0, &mut rng);
        for how in ALL {
            let bytes = bytes(*how, &event, &mut rng);
            let json = serde_json::from_slice::<serde_json::Value>(&bytes);
            match how {
                Breakage::NotJson | Breakage::Empty => assert!(json.is_err(), "{how}"),
                _ => assert_ne!(json.unwrap(), serde_json::from_str::<serde_json::Value>(&event.json()).unwrap()),
            }
        }
    }
}
