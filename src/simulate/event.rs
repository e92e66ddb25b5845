//! One user event as the seed's clients know it: its fields, their weights, its JSON.
//!
//! Called by the generator. Knows nothing of faults. Invariant: durations and amounts are whole hundredths, so that sums
//! over them are exact.

use super::rng::Rng;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    Click,
    Login,
    Logout,
    PageView,
    Purchase,
    Search,
}

impl EventType {
    pub const ALL: [EventType; 6] = [
        EventType::Click,
        EventType::Login,
        EventType::Logout,
        EventType::PageView,
        EventType::Purchase,
        EventType::Search,
    ];

    /// Page views and clicks are most of the traffic.
    pub(super) fn draw(rng: &mut Rng) -> EventType {
        match rng.range(0, 100) {
            0..40 => EventType::PageView,
            40..70 => EventType::Click,
            70..85 => EventType::Search,
            85..90 => EventType::Login,
            90..95 => EventType::Logout,
            _ => EventType::Purchase,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            EventType::Click => "click",
            EventType::Login => "login",
            EventType::Logout => "logout",
            EventType::PageView => "page_view",
            EventType::Purchase => "purchase",
            EventType::Search => "search",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An amount over this, in hundredths, makes a purchase one of high value.
const HIGH_VALUE: u64 = 10_000;

const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Safari/604.1",
];
const PAGES: &[&str] = &["home", "products", "cart", "checkout", "account", "help"];
const REFERRERS: &[&str] = &["google.com", "bing.com", "newsletter", "direct"];
const ELEMENTS: &[&str] = &["button", "link", "image", "menu"];
const CURRENCIES: &[&str] = &["USD", "EUR", "GBP"];
const QUERIES: &[&str] = &["shoes", "red shoes", "caf\u{e9} \u{201c}to go\u{201d}", "100% cotton", "laptop"];
const METHODS: &[&str] = &["password", "google", "sso"];

/// What is known of an event besides its text.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub kind: EventType,
    pub user: u64,
    /// ms since 1970.
    pub time: i64,
    /// Hundredths of a second.
    pub duration: Option<u64>,
    pub is_high_value: bool,
    /// Its JSON, in the parts that a fault changes.
    pub parts: Parts,
}

#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub id: String,
    pub data: String,
}

impl Event {
    pub fn draw(kind: EventType, user: u64, time: i64, rng: &mut Rng) -> Event {
        let duration = match kind {
            EventType::PageView => Some(rng.range(50, 30_000)),
            EventType::Click => Some(rng.range(5, 500)),
            _ => None,
        };
        let id = format!("{kind}_{time}_{}", rng.draw());
        let (own, is_high_value) = own_fields(kind, rng);
        let data = format!(
            r#"{{"session_id":"session_{}","ip_address":"192.168.{}.{}","user_agent":"{}",{own}}}"#,
            rng.range(10_000, 100_000),
            rng.range(0, 256),
            rng.range(1, 255),
            rng.pick(AGENTS),
        );
        Event { kind, user, time, duration, is_high_value, parts: Parts { id, data } }
    }

    pub fn key(&self) -> String {
        format!("user_{}", self.user)
    }

    pub fn json(&self) -> String {
        let duration = self.duration.map(|d| format!(r#","duration_seconds":{}"#, number(d))).unwrap_or_default();
        format!(
            r#"{{"event_id":"{}","user_id":"user_{}","event_type":"{}","timestamp":"{}","event_data":{}{duration}}}"#,
            self.parts.id,
            self.user,
            self.kind,
            rfc3339(self.time),
            self.parts.data,
        )
    }
}

/// The fields that only this type has, and whether it is a purchase of high value.
fn own_fields(kind: EventType, rng: &mut Rng) -> (String, bool) {
    let text = match kind {
        EventType::PageView => {
            format!(r#""page_url":"/page/{}","referrer":"{}""#, rng.pick(PAGES), rng.pick(REFERRERS))
        }
        EventType::Click => {
            let element = rng.pick(ELEMENTS);
            format!(r#""element_id":"{element}_{}","element_type":"{element}""#, rng.range(1, 21))
        }
        EventType::Purchase => return purchase(rng),
        EventType::Search => {
            format!(r#""query":"{}","results_count":{}"#, rng.pick(QUERIES), rng.range(0, 501))
        }
        EventType::Login | EventType::Logout => format!(r#""auth_method":"{}""#, rng.pick(METHODS)),
    };
    (text, false)
}

fn purchase(rng: &mut Rng) -> (String, bool) {
    // A few lie on the edge itself, which is not high.
    let amount = if rng.range(0, 20) == 0 { HIGH_VALUE } else { rng.range(500, 50_000) };
    let text = format!(
        r#""order_id":"order_{}","amount":{},"currency":"{}","items_count":{}"#,
        rng.range(100_000, 1_000_000),
        number(amount),
        rng.pick(CURRENCIES),
        rng.range(1, 11)
    );
    (text, amount > HIGH_VALUE)
}

/// Hundredths as JSON writes them: 250 is 2.5.
pub(super) fn number(hundredths: u64) -> String {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest % 10 {
        0 => format!("{whole}.{}", rest / 10),
        _ => format!("{whole}.{rest:02}"),
    }
}

/// With three digits of a second, in UTC.
pub(super) fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_are_written_without_loss() {
        let all = [(0, "0.0"), (5, "0.05"), (50, "0.5"), (100, "1.0"), (1234, "12.34"), (30_010, "300.1")];
        for (hundredths, text) in all {
            assert_eq!(number(hundredths), text);
        }
    }

    #[test]
    fn every_type_has_its_fields_and_is_json() {
        let fields = |kind| match kind {
            EventType::PageView => &["page_url", "referrer"][..],
            EventType::Click => &["element_id", "element_type"],
            EventType::Purchase => &["order_id", "amount", "currency", "items_count"],
            EventType::Search => &["query", "results_count"],
            EventType::Login | EventType::Logout => &["auth_method"],
        };
        let mut rng = Rng::new(3);
        for _ in 0..500 {
            let kind = EventType::draw(&mut rng);
            let event = Event::draw(kind, 42, 1_705_312_800_000, &mut rng);
            let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
            assert_eq!(json["timestamp"], "2024-01-15T10:00:00.000Z");
            assert_eq!(json["user_id"], "user_42");
            assert_eq!(json["event_type"], kind.name());
            let data = json["event_data"].as_object().unwrap();
            for field in ["session_id", "ip_address", "user_agent"].iter().chain(fields(kind)) {
                assert!(data.contains_key(*field), "{kind} has no {field}");
            }
            assert_eq!(data.len(), 3 + fields(kind).len());
            let is_timed = matches!(kind, EventType::PageView | EventType::Click);
            assert_eq!(json.get("duration_seconds").is_some(), is_timed);
            let amount = data.get("amount").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
            assert_eq!(event.is_high_value, amount > 100.0);
        }
    }
}
