//! Files of every version of a key or value that was ever stored: what is written today must be the same bytes, and
//! they must still be read. `TIDEMILL_BLESS=1 cargo test -p tidemill-state --test golden` writes a file that is missing
//! and never one that is there: a changed format is a new version with a new file.

// clippy.toml's exception covers test functions alone, and the helpers beside them are tests too.
#![allow(clippy::unwrap_used)]

use serde::{Deserialize, Serialize};
use std::{fs, path::PathBuf};
use tidemill_state::{Changes, IdSet, IdShape, MemoryStore, Meta, StateStore, Table, Width, codec, fingerprint, keys};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Sample {
    count: u64,
    small: i32,
    far: i64,
    sum: i128,
    name: Option<String>,
    tags: Vec<(u8, bool)>,
    kind: Kind,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Kind {
    Plain,
    Ratio(f64),
    Named { id: u16 },
}

fn samples() -> Vec<Sample> {
    let plain = Sample { count: 0, small: 0, far: 0, sum: 0, name: None, tags: vec![], kind: Kind::Plain };
    let some = |n: u64| plain_with(n, Kind::Ratio(0.1));
    vec![plain, some(250), some(251), some(70_000), some(u64::MAX), plain_with(5_000_000_000, Kind::Named { id: 7 })]
}

fn plain_with(count: u64, kind: Kind) -> Sample {
    let (small, far, sum) = (-(count as i32), i64::MIN, -(count as i128) << 64);
    Sample { count, small, far, sum, name: Some("Ümläut".into()), tags: vec![(1, true), (255, false)], kind }
}

/// The bytes of `name`, which are the file's; says how to make the file where it is missing.
fn golden(name: &str, written: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if !path.exists() && std::env::var_os("TIDEMILL_BLESS").is_some() {
        fs::write(&path, written).unwrap();
    }
    let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; TIDEMILL_BLESS=1 writes it", path.display()));
    assert_eq!(written, stored, "{name}: stored bytes never change; give the new shape a new version");
}

/// Entries behind one another: length of key, key, length of value or ffffffff for a tombstone, value.
fn framed(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in changes.iter() {
        out.extend_from_slice(&(key.len() as u32).to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(&value.map_or(u32::MAX, |v| v.len() as u32).to_be_bytes());
        out.extend_from_slice(value.unwrap_or_default());
    }
    out
}

#[test]
fn keys_of_version_1() {
    let mut all = keys::CHECKPOINT_KEY.to_vec();
    keys::key(1, 0, b"", &mut all);
    keys::key(0x1234, 0x0102_0304_0506_0708, b"rest", &mut all);
    keys::key(u16::MAX, u64::MAX, b"\xff", &mut all);
    golden("keys.v1", &all);
}

#[test]
fn values_of_version_1() {
    let mut all = Vec::new();
    for (i, sample) in samples().iter().enumerate() {
        let mut one = Vec::new();
        codec::encode(1, sample, &mut one);
        assert_eq!(codec::decode(1, &one), Ok((1, sample.clone())), "sample {i}");
        all.extend(one);
    }
    golden("values.v1", &all);
}

#[test]
fn meta_of_version_1() {
    let meta = Meta { checkpoint: b"checkpoint".to_vec(), position: 123_456_789_012, append_time: 1_767_261_600_000 };
    let mut bytes = Vec::new();
    codec::encode(1, &meta, &mut bytes);
    golden("meta.v1", &bytes);
    assert_eq!(codec::decode(1, &bytes), Ok((1, meta)));
}

#[test]
fn a_table_of_version_1() {
    let mut table = Table::<Sample>::new(3, 1);
    for (i, sample) in samples().into_iter().enumerate() {
        table.put(i as u64 % 2, format!("key {i}").as_bytes(), sample);
    }
    table.remove(0, b"gone");
    let mut changes = Changes::new();
    table.seal(1, &mut changes);
    golden("table.v1", &framed(&changes));
}

#[test]
fn an_id_set_of_version_1() {
    let files =
        [(Width::Wide, "id_set_wide.v1"), (Width::Close, "id_set_close.v1"), (Width::Narrow, "id_set_narrow.v1")];
    for (width, name) in files {
        let shape = IdShape { width, at_most: 100 };
        let mut set = IdSet::new(4, shape);
        for id in ["anna", "berta", "", "Ümläut"] {
            set.insert(1_767_261_600_000, fingerprint(id.as_bytes()));
        }
        let mut changes = Changes::new();
        set.seal(258, &mut changes);
        golden(name, &framed(&changes));
        let store = MemoryStore::new();
        store.apply(&changes, &Meta { checkpoint: vec![], position: 1, append_time: 0 }).unwrap();
        // A close one has written such as the wide one, too.
        let readers = if width == Width::Wide { vec![Width::Wide, Width::Close] } else { vec![width] };
        for width in readers {
            let set = IdSet::open(4, IdShape { width, at_most: 100 }, &store).unwrap();
            assert!(set.contains(1_767_261_600_000, fingerprint(b"anna")) && set.total() == 4);
        }
        let other = if width == Width::Narrow { Width::Close } else { Width::Narrow };
        assert!(IdSet::open(4, IdShape { width: other, at_most: 100 }, &store).is_err(), "{name} read as {other:?}");
    }
}
