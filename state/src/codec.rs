//! Values as bytes: one version byte, then bincode. The only file that names bincode; it must not know what a value
//! means. Tables, id sets, stores and checkpoints call it. The invariant: the configuration below is part of the
//! stored format (integers as variable-length little-endian, lengths the same) and never changes.

use bincode::config;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

/// No stored value is larger; a length that claims more is damage, found before memory is asked for it.
const LARGEST: usize = 64 << 20;

fn format() -> impl config::Config {
    config::standard().with_limit::<LARGEST>()
}

/// Why bytes are no value. One line each: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Halt: a later release wrote this.
    #[error("value of version {found}, newest known is {newest}: run the release that wrote it, or a later one")]
    Newer {
        /// The version byte of the value.
        found: u8,
        /// The newest version that this build reads.
        newest: u8,
    },
    /// An older version that nobody said how to read.
    #[error(
        "value of version {found} is older than this build reads: run an earlier release, or give the state a new name"
    )]
    Unreadable {
        /// The version byte of the value.
        found: u8,
    },
    /// The bytes are not what their version says.
    #[error("value of version {version} is malformed ({cause}): its changelog record is damaged or its shape changed")]
    Malformed {
        /// The version byte of the value, 0 if there is none.
        version: u8,
        /// What did not fit.
        cause: String,
    },
}

/// Appends `version` and the encoded `v` to `out`. `version` is 1 or more.
///
/// Panics if `V` refuses to be serialised, which no value of state does.
pub fn encode<V: Serialize + ?Sized>(version: u8, v: &V, out: &mut Vec<u8>) {
    debug_assert_ne!(version, 0, "versions count from 1");
    out.push(version);
    append(v, out);
}

/// Appends `v` alone: a part of a value whose version stands elsewhere.
///
/// Panics as [`encode`] does.
pub fn append<V: Serialize + ?Sized>(v: &V, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(v, out, format()).expect("a value of state can always be serialised");
}

/// Reads a value of any version up to `newest` whose bytes have the shape `V`, and says which version it was.
/// Where an older version had another shape, use [`decode_versioned`].
pub fn decode<V: DeserializeOwned>(newest: u8, bytes: &[u8]) -> Result<(u8, V), CodecError> {
    decode_versioned(newest, bytes, |version, body| Ok((version, body_as(version, body)?)))
}

/// Reads a value that has had one shape in all versions up to `newest`, and may point into `bytes`.
pub fn borrow<'a, V: Deserialize<'a>>(newest: u8, bytes: &'a [u8]) -> Result<V, CodecError> {
    let (version, body) = versioned(newest, bytes)?;
    whole(version, body, bincode::serde::borrow_decode_from_slice(body, format()))
}

/// Reads a value whose shape depends on its version: `read` gets the version (1 to `newest`) and the bytes behind it,
/// and usually ends in [`body_as`]. A version above `newest` never reaches it.
pub fn decode_versioned<V>(
    newest: u8,
    bytes: &[u8],
    read: impl FnOnce(u8, &[u8]) -> Result<V, CodecError>,
) -> Result<V, CodecError> {
    let (found, body) = versioned(newest, bytes)?;
    read(found, body)
}

/// The version, and the bytes behind it.
fn versioned(newest: u8, bytes: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    match bytes.split_first() {
        None | Some((0, _)) => Err(CodecError::Malformed { version: 0, cause: "no version byte".into() }),
        Some((&found, _)) if found > newest => Err(CodecError::Newer { found, newest }),
        Some((&found, body)) => Ok((found, body)),
    }
}

/// Reads the bytes behind a version byte as `V`; all of them, a rest is an error.
pub fn body_as<V: DeserializeOwned>(version: u8, body: &[u8]) -> Result<V, CodecError> {
    whole(version, body, bincode::serde::decode_from_slice(body, format()))
}

fn whole<V>(version: u8, body: &[u8], read: Result<(V, usize), bincode::error::DecodeError>) -> Result<V, CodecError> {
    match read {
        Ok((v, read)) if read == body.len() => Ok(v),
        Ok((_, read)) => Err(CodecError::Malformed { version, cause: format!("{} bytes too many", body.len() - read) }),
        Err(e) => Err(CodecError::Malformed { version, cause: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_with_its_version() {
        let mut out = vec![9];
        encode(3, &("anna".to_owned(), 7u64), &mut out);
        assert_eq!(out[..2], [9, 3], "appended, version first");
        assert_eq!(decode::<(String, u64)>(4, &out[1..]), Ok((3, ("anna".to_owned(), 7))));
    }

    #[test]
    fn a_newer_version_halts_and_an_older_one_is_handed_over() {
        let mut out = Vec::new();
        encode(2, &5u32, &mut out);
        assert_eq!(decode::<u32>(1, &out), Err(CodecError::Newer { found: 2, newest: 1 }));
        let widened = decode_versioned(3, &out, |version, body| match version {
            2 => body_as::<u32>(version, body).map(u64::from),
            _ => body_as::<u64>(version, body),
        });
        assert_eq!(widened, Ok(5u64));
    }

    #[test]
    fn damage_is_an_error_and_asks_for_no_memory() {
        let huge = [&[1u8, 253][..], &u64::MAX.to_le_bytes()].concat();
        for bytes in [&b""[..], b"\0", b"\x01", b"\x01\x05ab", b"\x01\x01ab", &huge] {
            assert!(matches!(decode::<String>(1, bytes), Err(CodecError::Malformed { .. })), "{bytes:?}");
        }
    }
}
