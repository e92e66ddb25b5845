//! Reads the parts of Kafka's frames that the proxy decides by: the header of a request, its transactional id, and the
//! error code of a simple answer. Knows bytes only, neither sockets nor rules; the pumps in `connection.rs` call it.
//! Invariant: a frame that cannot be read is never an error here, it only has fewer known fields.

/// A kind of request, by Kafka's api key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    OffsetCommit,
    OffsetFetch,
    FindCoordinator,
    JoinGroup,
    Heartbeat,
    LeaveGroup,
    SyncGroup,
    ApiVersions,
    InitProducerId,
    AddPartitionsToTxn,
    AddOffsetsToTxn,
    EndTxn,
    TxnOffsetCommit,
    Other(i16),
}

const KEYS: [(i16, Kind); 17] = [
    (0, Kind::Produce),
    (1, Kind::Fetch),
    (2, Kind::ListOffsets),
    (3, Kind::Metadata),
    (8, Kind::OffsetCommit),
    (9, Kind::OffsetFetch),
    (10, Kind::FindCoordinator),
    (11, Kind::JoinGroup),
    (12, Kind::Heartbeat),
    (13, Kind::LeaveGroup),
    (14, Kind::SyncGroup),
    (18, Kind::ApiVersions),
    (22, Kind::InitProducerId),
    (24, Kind::AddPartitionsToTxn),
    (25, Kind::AddOffsetsToTxn),
    (26, Kind::EndTxn),
    (28, Kind::TxnOffsetCommit),
];

impl Kind {
    pub fn from_key(key: i16) -> Kind {
        KEYS.iter().find(|(k, _)| *k == key).map_or(Kind::Other(key), |(_, kind)| *kind)
    }

    /// The six kinds that carry a transactional id. The log holds every request of these.
    pub fn is_transactional(self) -> bool {
        self.flexible_from().is_some()
    }

    /// First version with compact strings and tagged fields; `None` for kinds whose body is not read.
    fn flexible_from(self) -> Option<i16> {
        match self {
            Kind::Produce => Some(9),
            Kind::InitProducerId => Some(2),
            Kind::AddPartitionsToTxn | Kind::AddOffsetsToTxn | Kind::EndTxn | Kind::TxnOffsetCommit => Some(3),
            _ => None,
        }
    }

    fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|first| version >= first)
    }
}

/// What the proxy knows of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub kind: Kind,
    pub version: i16,
    pub correlation: i32,
    pub client: Option<String>,
    pub txn: Option<String>,
    /// The flag of EndTxn: true commits, false aborts.
    pub committed: Option<bool>,
    /// False only for Produce with acks 0, which the broker never answers.
    pub is_answered: bool,
}

impl Request {
    /// `frame` without its four bytes of length. `None` if even the fixed part of the header is missing.
    pub fn parse(frame: &[u8]) -> Option<Request> {
        let mut cursor = Cursor(frame);
        let kind = Kind::from_key(cursor.i16()?);
        let version = cursor.i16()?;
        let correlation = cursor.i32()?;
        let (client, txn, committed) = (None, None, None);
        let mut request = Request { kind, version, correlation, client, txn, committed, is_answered: true };
        // Cut short or of an unknown shape: what was read so far stands, the broker judges the rest.
        let _ = request.read_rest(&mut cursor);
        Some(request)
    }

    fn read_rest(&mut self, cursor: &mut Cursor) -> Option<()> {
        // The client id keeps its old form in flexible headers.
        self.client = cursor.text(false)?;
        let flexible = self.kind.is_flexible(self.version);
        if flexible {
            cursor.skip_tags()?;
        }
        match self.kind {
            Kind::Produce => {
                if self.version >= 3 {
                    self.txn = cursor.text(flexible)?;
                }
                self.is_answered = cursor.i16()? != 0;
            }
            // From version 4 on a broker speaks for several; the first names the request.
            Kind::AddPartitionsToTxn if self.version >= 4 => {
                let count = cursor.array(true)?;
                self.txn = if count == 0 { None } else { cursor.text(true)? };
            }
            Kind::EndTxn => {
                self.txn = cursor.text(flexible)?;
                cursor.skip(8 + 2)?;
                self.committed = Some(cursor.take(1)?[0] != 0);
            }
            kind if kind.is_transactional() => self.txn = cursor.text(flexible)?,
            _ => {}
        }
        Some(())
    }
}

/// The correlation id of an answer, which is given without its four bytes of length.
pub(super) fn correlation(answer: &[u8]) -> Option<i32> {
    Cursor(answer).i32()
}

/// The error code in an answer (without its four bytes of length) to one of the transactional kinds; 0 is no error.
/// Produce: of its first partition. AddPartitionsToTxn, TxnOffsetCommit: the first that is not 0.
pub(super) fn error_code(kind: Kind, version: i16, answer: &[u8]) -> Option<i16> {
    let mut cursor = Cursor(answer);
    let flexible = kind.is_flexible(version);
    cursor.i32()?;
    if flexible {
        cursor.skip_tags()?;
    }
    match kind {
        Kind::Produce => {
            cursor.array(flexible)?;
            if version >= 13 {
                cursor.skip(16)?;
            } else {
                cursor.text(flexible)?;
            }
            cursor.array(flexible)?;
            cursor.i32()?;
            cursor.i16()
        }
        Kind::AddPartitionsToTxn if version >= 4 => cursor.after_throttle(),
        Kind::EndTxn | Kind::AddOffsetsToTxn | Kind::InitProducerId => cursor.after_throttle(),
        Kind::AddPartitionsToTxn | Kind::TxnOffsetCommit => {
            cursor.i32()?;
            cursor.first_error(flexible)
        }
        _ => None,
    }
}

/// Reads from the front; `None` once the bytes run out.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2).map(|b| i16::from_be_bytes([b[0], b[1]]))
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string that may be null. The outer `None` is "bytes ran out".
    #[allow(clippy::option_option)]
    fn text(&mut self, flexible: bool) -> Option<Option<String>> {
        let length = if flexible { i64::from(self.varint()?) - 1 } else { i64::from(self.i16()?) };
        let Ok(length) = usize::try_from(length) else { return Some(None) };
        let bytes = self.take(length)?;
        Some(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The length of an array; null counts as empty.
    fn array(&mut self, flexible: bool) -> Option<u32> {
        if flexible { Some(self.varint()?.saturating_sub(1)) } else { Some(u32::try_from(self.i32()?).unwrap_or(0)) }
    }

    fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(usize::try_from(size).ok()?)?;
        }
        Some(())
    }

    fn after_throttle(&mut self) -> Option<i16> {
        self.i32()?;
        self.i16()
    }

    /// Topics, each with partitions of (index, error code): the first code that is not 0, else 0.
    fn first_error(&mut self, flexible: bool) -> Option<i16> {
        for _ in 0..self.array(flexible)? {
            self.text(flexible)?;
            for _ in 0..self.array(flexible)? {
                self.i32()?;
                let code = self.i16()?;
                if code != 0 {
                    return Some(code);
                }
                if flexible {
                    self.skip_tags()?;
                }
            }
            if flexible {
                self.skip_tags()?;
            }
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written field by field, as the protocol's tables name them.
    #[derive(Default)]
    struct Bytes(Vec<u8>);

    impl Bytes {
        fn i8(mut self, v: i8) -> Self {
            self.0.extend(v.to_be_bytes());
            self
        }
        fn i16(mut self, v: i16) -> Self {
            self.0.extend(v.to_be_bytes());
            self
        }
        fn i32(mut self, v: i32) -> Self {
            self.0.extend(v.to_be_bytes());
            self
        }
        fn i64(mut self, v: i64) -> Self {
            self.0.extend(v.to_be_bytes());
            self
        }
        fn raw(mut self, v: &[u8]) -> Self {
            self.0.extend(v);
            self
        }
        fn text(self, v: &str) -> Self {
            self.i16(v.len() as i16).raw(v.as_bytes())
        }
        /// For strings shorter than 127 bytes, whose length is one byte.
        fn compact(self, v: &str) -> Self {
            self.i8(v.len() as i8 + 1).raw(v.as_bytes())
        }
        fn header(self, key: i16, version: i16, correlation: i32) -> Self {
            self.i16(key).i16(version).i32(correlation).text("rdkafka")
        }
    }

    fn parse(bytes: Bytes) -> Request {
        Request::parse(&bytes.0).expect("the fixed part is there")
    }

    #[test]
    fn end_txn_old_and_flexible() {
        let old = parse(Bytes::default().header(26, 1, 7).text("app-1-0").i64(4000).i16(3).i8(1));
        assert_eq!((old.kind, old.version, old.correlation), (Kind::EndTxn, 1, 7));
        assert_eq!(old.client.as_deref(), Some("rdkafka"));
        assert_eq!((old.txn.as_deref(), old.committed), (Some("app-1-0"), Some(true)));
        // One tagged field of three bytes in the header, which has to be skipped.
        let tags = [1, 9, 3, 0xaa, 0xbb, 0xcc];
        let new = Bytes::default().header(26, 3, 8).raw(&tags).compact("app-1-0").i64(4000).i16(3).i8(0).i8(0);
        let new = parse(new);
        assert_eq!((new.txn.as_deref(), new.committed), (Some("app-1-0"), Some(false)));
    }

    #[test]
    fn produce_of_every_shape() {
        let v2 = parse(Bytes::default().header(0, 2, 1).i16(-1).i32(30_000).i32(0));
        assert_eq!((v2.txn, v2.is_answered), (None, true));
        let v7 = parse(Bytes::default().header(0, 7, 1).text("t").i16(-1).i32(30_000).i32(0));
        assert_eq!((v7.txn.as_deref(), v7.is_answered), (Some("t"), true));
        let null_id = parse(Bytes::default().header(0, 7, 1).i16(-1).i16(0).i32(30_000).i32(0));
        assert_eq!((null_id.txn, null_id.is_answered), (None, false));
        let v10 = parse(Bytes::default().header(0, 10, 1).i8(0).compact("t").i16(-1).i32(30_000).i8(1).i8(0));
        assert_eq!((v10.txn.as_deref(), v10.is_answered), (Some("t"), true));
        let v10_null = parse(Bytes::default().header(0, 10, 1).i8(0).i8(0).i16(1).i32(30_000).i8(1).i8(0));
        assert_eq!((v10_null.txn, v10_null.is_answered), (None, true));
    }

    #[test]
    fn a_compact_string_longer_than_one_byte_of_length() {
        let id = "x".repeat(300);
        // 301 = 0b10_0101101: the low seven bits first.
        let bytes = Bytes::default().header(22, 4, 2).i8(0).raw(&[0xad, 0x02]).raw(id.as_bytes()).i32(60_000);
        assert_eq!(parse(bytes).txn, Some(id));
    }

    #[test]
    fn offsets_partitions_and_init() {
        let partitions = parse(Bytes::default().header(24, 0, 3).text("a").i64(1).i16(0).i32(0));
        assert_eq!((partitions.kind, partitions.txn.as_deref()), (Kind::AddPartitionsToTxn, Some("a")));
        let compact = parse(Bytes::default().header(24, 3, 3).i8(0).compact("b").i64(1).i16(0).i8(1).i8(0));
        assert_eq!(compact.txn.as_deref(), Some("b"));
        let batched = parse(Bytes::default().header(24, 4, 3).i8(0).i8(2).compact("c").i64(1).i16(0));
        assert_eq!(batched.txn.as_deref(), Some("c"));
        let none = parse(Bytes::default().header(24, 4, 3).i8(0).i8(1).i8(0));
        assert_eq!(none.txn, None);
        let offsets = parse(Bytes::default().header(25, 0, 4).text("d").i64(1).i16(0).text("group"));
        assert_eq!((offsets.kind, offsets.txn.as_deref()), (Kind::AddOffsetsToTxn, Some("d")));
        let commit = parse(Bytes::default().header(28, 3, 5).i8(0).compact("e").compact("group").i64(1).i16(0));
        assert_eq!((commit.kind, commit.txn.as_deref()), (Kind::TxnOffsetCommit, Some("e")));
        let old = parse(Bytes::default().header(28, 2, 5).text("f").text("group").i64(1).i16(0));
        assert_eq!(old.txn.as_deref(), Some("f"));
        let init = parse(Bytes::default().header(22, 1, 6).text("g").i32(60_000));
        assert_eq!((init.kind, init.txn.as_deref()), (Kind::InitProducerId, Some("g")));
        let idempotent = parse(Bytes::default().header(22, 4, 6).i8(0).i8(0).i32(60_000));
        assert_eq!(idempotent.txn, None);
    }

    #[test]
    fn what_is_cut_short_keeps_what_was_read() {
        assert_eq!(Request::parse(&[0, 26, 0]), None);
        let short = parse(Bytes::default().header(26, 1, 7).i16(40).raw(b"app"));
        assert_eq!((short.kind, short.txn, short.committed), (Kind::EndTxn, None, None));
        let unknown = parse(Bytes::default().header(77, 0, 9));
        assert_eq!((unknown.kind, unknown.client.as_deref()), (Kind::Other(77), Some("rdkafka")));
    }

    #[test]
    fn error_codes_of_answers() {
        let answer = |bytes: Bytes, kind, version| error_code(kind, version, &bytes.0);
        let old = || Bytes::default().i32(7);
        let flexible = || Bytes::default().i32(7).i8(0);
        assert_eq!(correlation(&old().0), Some(7));
        assert_eq!(answer(old().i32(0).i16(51), Kind::EndTxn, 1), Some(51));
        assert_eq!(answer(flexible().i32(0).i16(90).i8(0), Kind::EndTxn, 3), Some(90));
        assert_eq!(answer(old().i32(0).i16(0), Kind::AddOffsetsToTxn, 0), Some(0));
        assert_eq!(answer(flexible().i32(0).i16(47).i64(1).i16(0).i8(0), Kind::InitProducerId, 4), Some(47));
        let two = |b: Bytes| b.i32(0).i32(1).text("t").i32(2).i32(0).i16(0).i32(1).i16(51);
        assert_eq!(answer(two(old()), Kind::AddPartitionsToTxn, 0), Some(51));
        assert_eq!(answer(two(old()), Kind::TxnOffsetCommit, 2), Some(51));
        let none = old().i32(0).i32(1).text("t").i32(1).i32(0).i16(0);
        assert_eq!(answer(none, Kind::AddPartitionsToTxn, 0), Some(0));
        let compact = flexible().i32(0).i8(2).compact("t").i8(3).i32(0).i16(0).i8(0).i32(1).i16(22).i8(0).i8(0);
        assert_eq!(answer(compact, Kind::TxnOffsetCommit, 3), Some(22));
        let v7 = old().i32(1).text("t").i32(1).i32(0).i16(-1).i64(0).i64(-1).i64(0).i32(0);
        assert_eq!(answer(v7, Kind::Produce, 7), Some(-1));
        let v10 = flexible().i8(2).compact("t").i8(2).i32(0).i16(48).i64(-1);
        assert_eq!(answer(v10, Kind::Produce, 10), Some(48));
        let v13 = flexible().i8(2).raw(&[0; 16]).i8(2).i32(0).i16(48).i64(-1);
        assert_eq!(answer(v13, Kind::Produce, 13), Some(48));
        assert_eq!(answer(old().i32(0), Kind::EndTxn, 1), None);
        assert_eq!(answer(old().i32(0).i16(5), Kind::Metadata, 1), None);
    }
}
