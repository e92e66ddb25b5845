//! The protections of the protocol, each with a name, so that a control can show what breaks without it.
//!
//! Read by every file of this room and by `kafka/`. In a release build nothing can be taken away.
//! Invariant: the names are those of `tests/model`.

/// Every protection, by the name that the model gives it.
pub const NAMES: &[&str] = &[
    "recycle_error",
    "recycle_abort",
    "verify",
    "wait_lso",
    "raw_end",
    "order",
    "stable",
    "step7",
    "frozen_meta",
    "atomic_snapshot",
    "incarnation",
    "filter_lost",
    "unknown_recovers",
    "unknown_commits",
    "publish_empty",
    "newer_than_used",
    "real_member",
    "init_first",
    "let_go",
    "unbroken",
];

/// Which protections are on: all of them, less those that a control has taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protections {
    removed: u32,
}

impl Protections {
    /// Everything on: the product.
    pub const fn all() -> Protections {
        Protections { removed: 0 }
    }

    /// Is the named protection on?
    ///
    /// # Panics
    /// On a name that is not in [`NAMES`]: a control that controls nothing.
    pub fn on(self, name: &str) -> bool {
        self.removed & bit(name) == 0
    }

    /// All but the named one. Not there in a release build.
    #[cfg(any(debug_assertions, feature = "controls"))]
    pub fn without(self, name: &str) -> Protections {
        Protections { removed: self.removed | bit(name) }
    }

    /// What `TIDEMILL_CONTROL` (names with commas between) takes away, in a build with the feature `controls`.
    #[cfg(feature = "controls")]
    pub fn from_env() -> Protections {
        let names = std::env::var("TIDEMILL_CONTROL").unwrap_or_default();
        names.split(',').filter(|n| !n.is_empty()).fold(Protections::all(), Protections::without)
    }

    /// Everything on.
    #[cfg(not(feature = "controls"))]
    pub fn from_env() -> Protections {
        Protections::all()
    }
}

#[cfg(all(feature = "controls", not(debug_assertions)))]
compile_error!("the feature `controls` removes protections; it is for test builds alone");

fn bit(name: &str) -> u32 {
    let at = NAMES.iter().position(|n| *n == name);
    1 << at.unwrap_or_else(|| panic!("no protection is called '{name}'; there are: {}", NAMES.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_takes_away_what_it_names_and_nothing_else() {
        let p = Protections::all().without("step7");
        assert!(!p.on("step7"));
        assert!(NAMES.iter().filter(|n| **n != "step7").all(|n| p.on(n)));
    }

    #[test]
    #[should_panic(expected = "no protection is called 'nonsense'")]
    fn a_wrong_name_is_refused() {
        Protections::all().without("nonsense");
    }
}
