//! What is stored for one key of a grouping, in one window or for ever.
//!
//! Read and written through `tidemill_state`. Knows nothing of what the values mean: the grouping's shape says that.
//! Invariant: the encoding is version 1 and never changes; `golden/` holds files of it.

use crate::windows::aggregate::Value;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tidemill_state::{CodecError, codec, held};

/// Version of the encoding.
pub(crate) const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// It changed and the update has not been said yet. Stored, so that a restore neither forgets nor repeats one.
    pub owes: bool,
    /// One for each aggregate, in the order of the step.
    pub values: Values,
}

/// Few of them lie where they are used, without a pointer to follow.
pub(crate) type Values = SmallVec<[Value; 3]>;

impl Cell {
    /// Bytes that it holds outside of itself.
    pub fn outside(&self) -> usize {
        if self.values.spilled() { held::ALLOCATED + self.values.capacity() * size_of::<Value>() } else { 0 }
    }

    pub fn read(bytes: &[u8]) -> Result<Cell, CodecError> {
        codec::decode(VERSION, bytes).map(|(_, cell)| cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Decimal;
    use smallvec::smallvec;

    fn examples() -> Vec<Cell> {
        let number = |t: &str| Value::Number(Some(Decimal::parse(t).unwrap()));
        vec![
            Cell { owes: false, values: smallvec![] },
            Cell { owes: true, values: smallvec![Value::Count(0), Value::Count(u64::MAX), Value::Number(None)] },
            Cell { owes: false, values: smallvec![Value::Count(300), number("-12.5"), number("99999999999999999999")] },
        ]
    }

    #[test]
    fn cells_of_version_1_read_and_write_as_ever() {
        let encoded = |cell: &Cell| {
            let mut out = Vec::new();
            codec::encode(VERSION, cell, &mut out);
            out
        };
        let golden = crate::golden::hold("cell.v1.hex", &examples().iter().map(encoded).collect::<Vec<_>>());
        for (bytes, cell) in golden.iter().zip(examples()) {
            assert_eq!(codec::decode::<Cell>(VERSION, bytes).unwrap(), (1, cell));
        }
    }
}
