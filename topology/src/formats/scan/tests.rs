//! The scanner held against serde_json: on texts made at random, and on the same texts spoiled.
#![allow(clippy::unwrap_used, reason = "a panic here is the report")]

use super::*;
use crate::expr::{Path, parse_path};
use crate::formats::{Document, Fields};
use serde_json::Value;
use std::sync::LazyLock;

/// xorshift64*: the same seed, the same texts.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

const PATHS: [&str; 9] = ["a", "b", "c", "a.b", "a.b.c", "b.0", "b.1.a", "c.a", "`é`"];
const NAMES: [&str; 10] = ["a", "b", "c", "a", "b", "c", "d", "é", "\\u0061", "\\\"x\\n"];

fn paths() -> Vec<Path> {
    PATHS.map(|p| parse_path(p).unwrap()).to_vec()
}

fn blank(dice: &mut Dice, out: &mut String) {
    for _ in 0..dice.roll(4).saturating_sub(2) {
        out.push(dice.of(&[' ', '\n', '\t', '\r']));
    }
}

fn write(dice: &mut Dice, depth: usize, out: &mut String) {
    blank(dice, out);
    match if depth > 4 { dice.roll(7) } else { dice.roll(12) } {
        0 => out.push_str(dice.of(&["null", "true", "false"])),
        1 => out.push_str(dice.of(&[
            "0",
            "-0",
            "7",
            "-12.50",
            "1e9",
            "1E-2",
            "123456789012345678901234567890",
            "0.1e+5",
        ])),
        2..=6 => {
            out.push('"');
            for _ in 0..dice.roll(4) {
                let part = dice.of(&[
                    "x",
                    "page_view",
                    "",
                    "é",
                    "😀",
                    "\\n",
                    "\\\\",
                    "\\\"",
                    "\\/",
                    "\\u0041",
                    "\\ud83d\\ude00",
                    "\u{7f}",
                    "01234567",
                    "a long text that has more than one word of eight bytes",
                ]);
                out.push_str(part);
            }
            out.push('"');
        }
        7..=9 => {
            out.push('{');
            for place in 0..dice.roll(5) {
                out.push_str(if place == 0 { "" } else { "," });
                blank(dice, out);
                out.push('"');
                out.push_str(dice.of(&NAMES));
                out.push('"');
                blank(dice, out);
                out.push(':');
                write(dice, depth + 1, out);
            }
            out.push('}');
        }
        _ => {
            out.push('[');
            for place in 0..dice.roll(4) {
                out.push_str(if place == 0 { "" } else { "," });
                write(dice, depth + 1, out);
            }
            blank(dice, out);
            out.push(']');
        }
    }
    blank(dice, out);
}

fn spoil(dice: &mut Dice, text: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    let at = dice.roll(text.len());
    match dice.roll(4) {
        0 => text.truncate(at),
        1 => drop(text.remove(at)),
        2 => text.insert(at, dice.of(b"\"\\{}[],:0-.eE+tfn \x01\xff\xc3u")),
        _ => text[at] = dice.of(b"\"\\{}[],:0-.eE+tfn \x1f\xff\xa9u"),
    }
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| Fields::new(paths()));

/// What is spelled in the text is the value that the parser has.
fn hold_spelled(bytes: &[u8], parsed: Option<&Value>) {
    let mut reader = FIELDS.reader();
    let found = reader.read(bytes).ok();
    assert_eq!(found.is_some(), parsed.is_some(), "{}", bytes.escape_ascii());
    let (Some(found), Some(parsed)) = (found, parsed) else { return };
    assert_eq!(found.is_object(), parsed.is_object(), "{}", bytes.escape_ascii());
    for (place, path) in paths().iter().enumerate() {
        let of = |json: &str| Some(serde_json::from_str(json).unwrap());
        let value: Option<Value> = match found.get(place) {
            Spelled::Missing => None,
            Spelled::Null => Some(Value::Null),
            Spelled::Flag(flag) => Some(Value::Bool(flag)),
            Spelled::Number(text) | Spelled::Json(text) => of(&text),
            Spelled::Text(text) => Some(Value::String(text.into_owned())),
        };
        let there = path.iter().try_fold(parsed, |at, name| match at {
            Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            other => other.get(&**name),
        });
        assert_eq!(value.as_ref(), there, "{} of {}", path.join("."), bytes.escape_ascii());
    }
}

/// Holds one text against serde_json: parsed, as it may be learnt, and as it was learnt. Whether the scanner took it.
fn hold(bytes: &[u8], wanted: &Wanted, scratch: &mut Scratch) -> bool {
    let parsed: Result<Value, _> = serde_json::from_slice(bytes);
    hold_spelled(bytes, parsed.as_ref().ok());
    let Some(text) = str::from_utf8(bytes).ok() else { return false };
    if scan(text, wanted, &mut Scratch::default()).is_none() {
        assert_eq!(scan(text, wanted, scratch).map(|_| ()), None, "taken as it was learnt, and only so: {text}");
        assert_eq!(Document::scan(bytes, wanted, scratch).is_ok(), parsed.is_ok(), "{text}");
        return false;
    }
    let parsed = Document::from_json(parsed.unwrap_or_else(|e| panic!("taken, and it is wrong ({e}): {text}")));
    let other = parse_path("d.a").unwrap();
    for scratch in [&mut Scratch::default(), scratch] {
        for _ in 0..2 {
            let document = Document::scan(bytes, wanted, scratch).unwrap();
            for path in paths() {
                assert_eq!(document.field(&path), parsed.get(&path), "{} of {text}", path.join("."));
            }
            assert_eq!(document.field(&other), parsed.get(&other), "what nobody announced is found too: {text}");
        }
    }
    true
}

#[test]
fn a_scan_finds_what_a_parser_finds() {
    let wanted = Wanted::new(&paths()).unwrap();
    let (mut dice, mut taken, mut spoiled, mut scratch) = (Dice(7), 0, 0, Scratch::default());
    for _ in 0..60_000 {
        let mut text = String::new();
        write(&mut dice, 0, &mut text);
        // A pair of surrogates is left to the parser: as odd as it looks, it is right.
        let odd = text.contains("\\ud83d");
        assert!(hold(text.as_bytes(), &wanted, &mut scratch) || odd, "right, and left to the parser: {text}");
        taken += usize::from(!odd);
        let mut bytes = text.into_bytes();
        spoil(&mut dice, &mut bytes);
        spoiled += usize::from(hold(&bytes, &wanted, &mut scratch));
    }
    assert!(taken > 30_000 && spoiled > 5_000 && spoiled < 55_000, "the dice are loaded: {taken}, {spoiled}");
}

#[test]
fn what_is_odd_is_decided_by_the_parser() {
    let wanted = Wanted::new(&paths()).unwrap();
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    for (text, right) in [
        (deep(119), true),
        (deep(127), true),
        (deep(128), false),
        ("[".repeat(1_000_000), false),
        (r#"{"a":"\ud800"}"#.to_owned(), false),
        (r#"{"a":"\ud83d\ude00"}"#.to_owned(), true),
        (r#"{"$serde_json::private::Number":"5"}"#.to_owned(), true),
        (String::new(), false),
        ("\u{feff}{}".to_owned(), false),
        ("{\"a\":1}x".to_owned(), false),
        ("{\"a\":01}".to_owned(), false),
        ("{\"a\":1,}".to_owned(), false),
        ("{'a':1}".to_owned(), false),
        ("nul".to_owned(), false),
    ] {
        let mut scratch = Scratch::default();
        hold(text.as_bytes(), &wanted, &mut scratch);
        assert_eq!(Document::scan(text.as_bytes(), &wanted, &mut scratch).is_ok(), right, "{:.60}", text);
    }
}

/// Records of few shapes, as producers write them, with every kind of scalar at every place, and spoiled.
#[test]
fn what_is_like_earlier_texts_is_read_as_they_were() {
    // Objects that are wanted themselves are never learnt, so here the fields in them are.
    let leaves = ["a.b", "b.0", "b.1.a", "c", "c.a"].map(|p| parse_path(p).unwrap());
    let wanted = Wanted::new(&leaves).unwrap();
    let (mut dice, mut scratch, mut alike) = (Dice(11), Scratch::default(), 0);
    const SCALARS: [&str; 9] =
        ["1", "-0.5e1", "\"\"", "\"x\"", "\"a\\n\"", "\"é and a text of many words\"", "true", "false", "null"];
    for round in 0..60_000 {
        let mut one = || dice.of(&SCALARS);
        let text = match round % 7 {
            0 => format!(r#"{{"a":{{"b":{}}},"b":[{},{{"a":{}}}],"c":{}}}"#, one(), one(), one(), one()),
            1 => format!(r#"{{"a":{{"b":{}}},"b":[{},{{"a":{}}}]}}"#, one(), one(), one()),
            2 => format!(r#"{{ "a" : {} , "d":[],"b":{{"0":{}}} }}"#, one(), one()),
            3 => format!(r#"{{"a":{},"a":{},"c":{}}}"#, one(), one(), one()),
            4 => format!(r#"{{"a":{{"b":{}}},"a":{{"c":1}},"c":{}}}"#, one(), one()),
            5 => format!(r#"{{"a":{{"b":{{"c":{}}}}},"c":{{"a":{}}}}}"#, one(), one()),
            _ => one().to_owned(),
        };
        assert!(hold(text.as_bytes(), &wanted, &mut scratch), "{text}");
        let mut slots = vec![Slot::default(); wanted.len()];
        alike += usize::from(scratch.shapes.fill(text.as_bytes(), &mut slots));
        let mut bytes = text.into_bytes();
        spoil(&mut dice, &mut bytes);
        hold(&bytes, &wanted, &mut scratch.clone());
    }
    assert!(alike > 30_000, "only {alike} texts were like earlier ones");
}

#[test]
fn every_length_of_a_text_ends_where_it_ends() {
    for length in 0..40 {
        for end in ['"', '\\', '\u{1f}'] {
            let text = format!("{}{end}\"\\rest of it", "é".repeat(length / 2) + &"x".repeat(length % 2));
            assert_eq!(cursor::plain(text.as_bytes(), 0), length / 2 * 2 + length % 2, "{text:?}");
        }
        assert_eq!(cursor::plain("x".repeat(length).as_bytes(), 0), length);
    }
}

#[test]
fn a_field_has_one_number_and_odd_ones_have_none() {
    let paths = |names: &[&str]| names.iter().map(|p| parse_path(p).unwrap()).collect::<Vec<_>>();
    let twice = Wanted::new(&paths(&["a.b", "a.b", "a"])).unwrap();
    assert_eq!(twice.len(), 2);
    assert_eq!(twice.slot_of(&paths(&["b.a"])[0]), None);
    let many: Vec<String> = (0..300).map(|n| format!("f{n}")).collect();
    assert!(Wanted::new(&paths(&many.iter().map(String::as_str).collect::<Vec<_>>())).is_none());
    let hundred: Vec<&str> = many.iter().take(100).map(String::as_str).collect();
    let hundred = paths(&hundred);
    let wanted = Wanted::new(&hundred).unwrap();
    assert!(hundred.iter().enumerate().all(|(at, path)| wanted.slot_of(path) == Some(at)));
}
