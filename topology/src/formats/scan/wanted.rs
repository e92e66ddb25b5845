//! Which fields of a document a stage asks for: paths as a tree, and a number for each.
//!
//! Compiled once with the stage, walked by the scanner. Knows nothing of text. Invariant: equal paths have one number.

use crate::expr::Path;

/// The fields of a stage.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    fields: Vec<Field>,
    paths: Vec<Path>,
    /// Hashes of paths and their numbers, by the low bits of the hash: a size was chosen at which no two meet.
    table: Vec<(u64, u8)>,
    /// An element of a list is named in two ways, or could be: `1` and `01`.
    odd: bool,
}

/// A name on the way to a wanted field, or such a field itself.
#[derive(Debug, Default)]
pub(crate) struct Field {
    name: Box<str>,
    /// What the name is where it names an element of a list.
    index: Option<usize>,
    /// Its number, if it is wanted itself.
    pub slot: Option<usize>,
    /// Which of the fields around it it is.
    place: usize,
    /// Indexes of the fields in it.
    fields: Vec<usize>,
}

const NONE: u8 = u8::MAX;

impl Wanted {
    /// `None`: not for one pass; more than 200, or oddly named.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Option<Wanted> {
        let mut wanted = Wanted { fields: vec![Field::default()], ..Wanted::default() };
        for path in paths {
            wanted.add(path);
        }
        wanted.table = wanted.spread()?;
        Some(wanted)
    }

    fn add(&mut self, path: &Path) {
        let mut at = 0;
        for name in path.iter() {
            let known = self.fields[at].fields.iter().copied().find(|&f| self.fields[f].name == *name);
            at = known.unwrap_or_else(|| {
                let index = name.parse().ok();
                self.odd |= index.is_some_and(|index: usize| index.to_string() != **name);
                let place = self.fields[at].fields.len();
                let field = Field { name: name.clone(), index, place, ..Field::default() };
                self.fields.push(field);
                let new = self.fields.len() - 1;
                self.fields[at].fields.push(new);
                new
            });
        }
        if self.fields[at].slot.is_none() {
            self.fields[at].slot = Some(self.paths.len());
            self.paths.push(path.clone());
        }
    }

    fn spread(&self) -> Option<Vec<(u64, u8)>> {
        let few = self.paths.len() < 200;
        let mut sizes = (4..=16).map(|bits| 1usize << bits).filter(|_| few && !self.odd);
        sizes.find_map(|size| {
            let mut table = vec![(0, NONE); size];
            for (index, path) in self.paths.iter().enumerate() {
                let place = &mut table[path.hash() as usize & (size - 1)];
                if std::mem::replace(place, (path.hash(), index as u8)).1 != NONE {
                    return None;
                }
            }
            Some(table)
        })
    }

    /// How many slots a text has.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// The number of a path; `None`: nobody said that it would be asked for.
    pub fn slot_of(&self, path: &Path) -> Option<usize> {
        let (hash, number) = self.table[path.hash() as usize & (self.table.len() - 1)];
        (hash == path.hash() && number != NONE).then_some(number as usize)
    }

    pub fn root(&self) -> &Field {
        &self.fields[0]
    }

    /// The field of a name. Records mostly have their fields in one order, so what follows the last one found is tried first.
    pub fn find(&self, of: &Field, name: &[u8], next: &mut usize) -> Option<&Field> {
        let (before, behind) = of.fields.split_at(*next);
        for &index in behind.iter().chain(before) {
            let field = &self.fields[index];
            if *field.name.as_bytes() == *name {
                *next = if field.place + 1 < of.fields.len() { field.place + 1 } else { 0 };
                return Some(field);
            }
        }
        None
    }

    /// The field that an element of a list is.
    pub fn element(&self, of: &Field, index: usize) -> Option<&Field> {
        of.fields.iter().map(|&f| &self.fields[f]).find(|f| f.index == Some(index))
    }

    /// Each number below a field.
    pub fn below(&self, of: &Field, each: &mut dyn FnMut(usize)) {
        for &inner in &of.fields {
            let field = &self.fields[inner];
            if let Some(slot) = field.slot {
                each(slot);
            }
            self.below(field, each);
        }
    }
}

impl Field {
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }
}
