//! What stood between the scalars of earlier texts: producers write their records alike, so the next text is first held
//! against that, a few comparisons for each field, before anybody parses it.
//!
//! A tree of steps, each a run of bytes (brackets, names, colons, blanks) and the scalar behind it. Whatever the scalars were,
//! the same runs lead a parser to the same place, so a text that follows a path of the tree is right where the text was that
//! the path was learnt from, and its fields are the same. Filled by the scanner from texts that it took; knows nothing of JSON
//! but scalars. Invariant: a path holds no field twice, and no object or list that is wanted itself.

use super::Slot;
use super::cursor::Cursor;
use std::ops::Range;

/// Steps at most, over all shapes.
const STEPS: usize = 512;
/// Ways to go on from one step at most: records that are never alike are not learnt.
const WAYS: usize = 16;

const NONE: u16 = u16::MAX;

/// Of the texts of one stage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    steps: Vec<Step>,
    /// The runs of bytes, one behind the other.
    blocks: Vec<Block>,
    /// Where a text begins.
    first: Option<u16>,
}

#[derive(Debug, Clone)]
struct Step {
    blocks: Range<u32>,
    length: u32,
    /// The number of the field behind it, if it is wanted.
    slot: u16,
    /// Nothing stands behind it.
    end: bool,
    /// What may follow, and what may stand here instead.
    next: Option<u16>,
    other: Option<u16>,
}

impl Shapes {
    /// Fills the slots of a text that is like an earlier one; whether it was. The slots are empty before.
    pub fn fill(&self, text: &[u8], slots: &mut [Slot]) -> bool {
        let mut cursor = Cursor { text, at: 0 };
        let mut way = self.first;
        while let Some(index) = way {
            let step = &self.steps[index as usize];
            way = step.other;
            if !self.run(step).iter().enumerate().all(|(i, block)| block.begins(rest(text, cursor.at + i * BLOCK))) {
                continue;
            }
            let start = cursor.at + step.length as usize;
            if step.end {
                if start == text.len() {
                    return true;
                }
                continue;
            }
            let mut value = Cursor { text, at: start };
            let Some(kind) = value.scalar() else { continue };
            cursor = value;
            way = step.next;
            if let Some(slot) = slots.get_mut(step.slot as usize) {
                *slot = Slot { start: start as u32, end: cursor.at as u32, kind };
            }
        }
        false
    }

    #[inline(always)]
    fn run(&self, step: &Step) -> &[Block] {
        &self.blocks[step.blocks.start as usize..step.blocks.end as usize]
    }

    fn forget(&mut self) {
        *self = Shapes::default();
    }

    /// The way that this run is, behind `at`; a new one if it must be.
    fn way(&mut self, at: Option<u16>, run: &[u8], (slot, end): (u16, bool)) -> Option<u16> {
        let blocks: Vec<Block> = run.chunks(BLOCK).map(Block::of).collect();
        let first = at.map_or(self.first, |at| self.steps[at as usize].next);
        let (mut way, mut last, mut ways) = (first, None, 0);
        while let Some(index) = way {
            let step = &self.steps[index as usize];
            if step.end == end && step.length as usize == run.len() && *self.run(step) == *blocks {
                return Some(index);
            }
            (last, way, ways) = (way, step.other, ways + 1);
        }
        if ways == WAYS || self.steps.len() == STEPS {
            self.forget();
            return None;
        }
        let new = self.steps.len() as u16;
        let from = self.blocks.len() as u32;
        self.blocks.extend_from_slice(&blocks);
        let (blocks, length) = (from..self.blocks.len() as u32, run.len() as u32);
        self.steps.push(Step { blocks, length, slot, end, next: None, other: None });
        match (last, at) {
            (Some(last), _) => self.steps[last as usize].other = Some(new),
            (None, Some(at)) => self.steps[at as usize].next = Some(new),
            (None, None) => self.first = Some(new),
        }
        Some(new)
    }
}

/// A text on its way into the tree.
pub(super) struct Learner<'s> {
    shapes: &'s mut Shapes,
    /// The last step.
    at: Option<u16>,
    /// Behind the last scalar.
    from: usize,
    /// It has something that a path may not have.
    odd: bool,
}

impl<'s> Learner<'s> {
    pub fn new(shapes: &'s mut Shapes) -> Learner<'s> {
        Learner { shapes, at: None, from: 0, odd: false }
    }

    /// A scalar stands there.
    pub fn scalar(&mut self, text: &[u8], (start, end): (usize, usize), slot: Option<usize>) {
        if !self.odd {
            let slot = slot.map_or(NONE, |slot| slot as u16);
            self.at = self.shapes.way(self.at, &text[self.from..start], (slot, false));
            self.odd = self.at.is_none();
            self.from = end;
        }
    }

    /// The text is not to be learnt.
    pub fn refuse(&mut self) {
        self.odd = true;
    }

    /// The text was right to its end.
    pub fn end(&mut self, text: &[u8]) {
        if !self.odd {
            self.shapes.way(self.at, &text[self.from..], (NONE, true));
        }
    }
}

/// From `at` on; nothing, if that is behind the end.
#[inline(always)]
fn rest(text: &[u8], at: usize) -> &[u8] {
    text.get(at..).unwrap_or_default()
}

/// Sixteen bytes of a run and which of them count: a word of 128 bits each.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    bytes: u128,
    mask: u128,
}

const BLOCK: usize = size_of::<u128>();

impl Block {
    fn of(part: &[u8]) -> Block {
        let mask = u128::MAX >> (8 * (BLOCK - part.len()));
        Block { bytes: word(part), mask }
    }

    #[inline(always)]
    fn begins(&self, text: &[u8]) -> bool {
        let found = match text.first_chunk::<BLOCK>() {
            Some(chunk) => u128::from_le_bytes(*chunk),
            None => word(text),
        };
        found & self.mask == self.bytes
    }
}

/// Up to sixteen bytes, and zeros behind them: no run holds a zero, so what ends early is never taken for a run.
fn word(part: &[u8]) -> u128 {
    let mut bytes = [0; BLOCK];
    bytes[..part.len()].copy_from_slice(part);
    u128::from_le_bytes(bytes)
}
