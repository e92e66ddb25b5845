//! The protections of a sink, each with a name, so that a test can show what breaks without it.
//!
//! Asked where each acts. In a build without the feature `controls` nothing can be taken away.
//! Invariant: a name that is asked stands in [`NAMES`].

/// Every protection.
pub const NAMES: &[&str] = &[
    // Rows and offset in one transaction; without: rows first, the offset in another.
    "together",
    // The offset moves only from where we stand; without: from anywhere.
    "offset",
    // The offset moves only under our epoch; without: under any.
    "epoch",
    // A new connection reads how far the last one came; without: memory is believed.
    "resume",
    // Dead letters are acknowledged before the transaction that moves past them commits; without: sent behind it.
    "letters_first",
    // A batch with a bad row is tried in parts; without: it is a dead letter as a whole.
    "bisect",
];

/// Which protections are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protections {
    removed: u32,
}

impl Protections {
    /// # Panics
    /// On a name that is not in [`NAMES`].
    pub fn on(self, name: &str) -> bool {
        self.removed & bit(name) == 0
    }

    /// What `TIDEMILL_SINK_CONTROL` (names with commas between) takes away, in a build with the feature `controls`.
    #[cfg(feature = "controls")]
    pub fn from_env() -> Protections {
        let names = std::env::var("TIDEMILL_SINK_CONTROL").unwrap_or_default();
        let all = names.split(',').filter(|n| !n.is_empty());
        Protections { removed: all.fold(0, |removed, name| removed | bit(name)) }
    }

    /// Everything on.
    #[cfg(not(feature = "controls"))]
    pub fn from_env() -> Protections {
        Protections::default()
    }
}

fn bit(name: &str) -> u32 {
    let at = NAMES.iter().position(|n| *n == name);
    1 << at.unwrap_or_else(|| panic!("no protection of a sink is called '{name}'; there are: {}", NAMES.join(", ")))
}
