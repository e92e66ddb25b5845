//! What a producer may do wrong, or mean ill: a dead letter with its reason, and nothing lost.

use crate::given::*;
use std::sync::Arc;
use tidemill_topology::{Tester, Topology, tester::Message};

fn everything() -> Arc<Topology> {
    topology(
        "sources:\n  events: { topic: in, key_format: string, time: at }\nsteps:\n  s:\n    from: events\n    do:\n      - validate: { id: text, x: \"number?\" }\n      - set: { big: x > 100 }\n      - redact: [ip]\n  g: { from: s, group_by: record.key, aggregate: { n: count(), s: sum(x) }, emit: every }\noutputs:\n  copy: { from: s }\n  out: { from: g }\n",
    )
}

/// Each between two good ones: what it says, and nothing else of it anywhere.
#[test]
fn hostile_bytes_leave_only_their_dead_letter() {
    let at = |rest: &str| format!("{{\"at\":{TEN},\"id\":\"i\",{rest}}}").into_bytes();
    let deep = |n: usize| at(&format!("\"d\":{}{}", "[".repeat(n), "]".repeat(n)));
    let gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0];
    for (value, reason) in [
        (vec![b'['; 1 << 20], "not-json: value: not JSON: nested too deep"),
        (vec![b'{'; 1 << 20], "not-json"),
        (deep(200), "not-json: value: not JSON: nested too deep"),
        (b"\xef\xbb\xbf{}".to_vec(), "not-json: value: not JSON: it begins with a byte order mark"),
        (gzip, "not-json: value: not JSON: it is gzip; let the producer compress"),
        (Vec::new(), "not-json: value: not JSON: it ends too early"),
        (at(r#""p":"\ud800""#), "not-json"),
        (at("\"p\":\"\0\""), "not-json"),
        (b"\xff\xfe{}".to_vec(), "not-json"),
        (at(r#""x":NaN"#), "not-json"),
        (at(r#""x":1234567890123456789012345678901234567890"#), "number-too-large: "),
        (format!("{{\"at\":{TEN},\"id\":\"a\\u0000b\"}}").into_bytes(), "invalid: field 'id' holds a NUL character"),
        (at(r#""at":1767261600"#), "time-unreadable: time field 'at' is a number too small for ms"),
        (at(&format!("\"at\":{}", TEN + 40_000 * 24 * HOUR)), "time-ahead: "),
        (at(r#""at":1e400"#), "time-unreadable: "),
    ] {
        let mut t = Tester::new(everything());
        let good = event("k", TEN, "\"id\":\"g\",\"x\":1");
        t.feed("in", good.clone());
        t.feed("in", Message { value: Some(value.clone()), ..Message::new("k", "") });
        t.feed("in", good);
        t.run().unwrap();
        let shown = String::from_utf8_lossy(&value[..value.len().min(60)]).into_owned();
        let dead = t.take("dead");
        assert_eq!(dead.len(), 1, "{shown}");
        let said_reason = dead[0].header("tidemill-reason").unwrap();
        assert!(said_reason.starts_with(reason), "{shown}: wanted {reason}, got {said_reason}");
        if dead[0].header("tidemill-truncated").is_none() {
            assert_eq!(dead[0].value.as_ref(), Some(&value));
        }
        assert_eq!(t.take("copy").len(), 2, "{shown}");
        assert_eq!(said(&mut t), ["k n=1 s=1 update", "k n=2 s=2 update"], "{shown}");
        assert!(balanced(t.counts("in")) && t.counts("in").dead == 1, "{shown}");
    }
}

/// Odd, and yet JSON: it passes as it was written.
#[test]
fn odd_bytes_pass_as_they_are() {
    for (rest, added) in [
        (r#""d":1,"d":{"a":[2]}, "d" : "3""#, "null"),
        (r#""x":1,"x":200.00"#, "true"),
        (r#""p":"\ud83d\ude00\u0000""#, "null"),
        (r#""x":1e-400"#, "false"),
        (&format!("\"d\":{}{}", "[".repeat(100), "]".repeat(100)), "null"),
        ("\"f\":[1234567890123456789012345678901234567890, 0.1e1]", "null"),
    ] {
        let mut t = Tester::new(everything());
        let value = format!("{{\"at\":{TEN},\"id\":\"i\",{rest}}}");
        t.feed("in", Message::new("k", &value));
        t.run().unwrap();
        let copy = t.take("copy").pop().unwrap_or_else(|| panic!("{rest}: {:?}", reasons(&mut t)));
        assert_eq!(copy.value_text(), value[..value.len() - 1].to_owned() + ",\"big\":" + added + "}");
    }
}
