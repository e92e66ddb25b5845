//! `copy`: the record as it came, to another topic, on the partition of the same number.
//!
//! Called by [`Node`](super::Node). Knows nothing of formats: bytes pass through. Invariant: key, value, headers and
//! timestamp are those of the input; only the source header is added, and one of an earlier hop replaced.

use super::Pass;
use crate::failure::Failure;
use crate::headers;
use crate::view::View;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Copy {
    pub topic: Arc<str>,
}

impl Copy {
    pub fn write(&self, view: &View<'_>, pass: &mut Pass<'_>) -> Result<(), Failure> {
        let record = &view.record;
        let kept = || record.headers.iter().filter(|(name, _)| *name != headers::SOURCE.as_bytes());
        let around: usize = kept().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len)).sum();
        let source = &mut pass.fold.bytes;
        headers::write_source(view.topic, view.partition, record.offset, source);
        let own = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let size = own + around + headers::SOURCE.len() + source.len();
        if size > pass.max_record {
            let text = format!("a copy to {} takes {size} bytes, max_record is {}", self.topic, pass.max_record);
            return Err(Failure::new("too-large", text));
        }
        pass.outputs.push((&self.topic, Some(view.partition)), record.timestamp, record.key, record.value);
        for (name, value) in kept() {
            pass.outputs.push_header(&String::from_utf8_lossy(name), value);
        }
        pass.outputs.push_header(headers::SOURCE, Some(source));
        Ok(())
    }
}
