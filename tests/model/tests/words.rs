//! The words agree: every step and protection has its place in the code, in `MODEL.md`, and in what a run really does.
//!
//! Knows the sources as text. Called by `cargo test`. Invariant: a name that means nothing any more fails here.

use std::collections::BTreeSet;
use std::path::Path;
use tidemill_model::words::{EXTRAS, PROTECTIONS, Protection, STEPS, Word};
use tidemill_model::{Config, check, extras, next_steps, protections, steps};

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// `wait_lso` as its variant is written.
fn camel(name: &str) -> String {
    name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

#[test]
fn every_switch_is_asked_where_its_word_says() {
    let asked = |kind: &str, word: &Word| {
        let switch = format!("{kind}::{}", camel(word.name));
        let code = text(&format!("src/{}", word.file));
        let at = code.find(&switch).unwrap_or_else(|| panic!("{switch} is not asked in {}", word.file));
        let next = code[at + switch.len()..].chars().next();
        assert!(!next.unwrap().is_alphanumeric(), "{switch} is not asked in {}", word.file);
    };
    PROTECTIONS.iter().for_each(|word| asked("Protection", word));
    EXTRAS.iter().for_each(|word| asked("Extra", word));
}

#[test]
fn a_switch_removes_the_protection_of_its_name() {
    // Declared in this order, checked by name: the first and the last hold the ones between in place.
    for (at, name) in protections().iter().enumerate() {
        let config = Config::parse(["--off", name].into_iter()).unwrap();
        let removed: Vec<Protection> = ALL.into_iter().filter(|p| !config.keeps(*p)).collect();
        assert_eq!(removed, [ALL[at]]);
        assert_eq!(format!("{:?}", removed[0]), camel(name));
    }
}

const ALL: [Protection; 20] = {
    use Protection::*;
    [
        RecycleError,
        RecycleAbort,
        Verify,
        WaitLso,
        RawEnd,
        Order,
        Stable,
        Step7,
        FrozenMeta,
        AtomicSnapshot,
        Incarnation,
        FilterLost,
        UnknownRecovers,
        UnknownCommits,
        PublishEmpty,
        NewerThanUsed,
        RealMember,
        InitFirst,
        LetGo,
        Unbroken,
    ]
};

#[test]
fn every_word_is_in_its_file_and_in_the_report() {
    let report = text("MODEL.md");
    for word in &STEPS {
        let code = text(&format!("src/{}", word.file));
        let short = word.name.replace("RECOVER ", "");
        let named = code.contains(word.name)
            || code.contains(&format!("step{short}"))
            || (code.contains("steps4_to_8") && ["4", "5", "6", "8"].contains(&short.as_str()));
        assert!(named, "{} does not name {}", word.file, word.name);
    }
    for name in protections().iter().chain(extras()) {
        assert!(report.contains(&format!("`{name}`")), "MODEL.md does not name {name}");
    }
    for name in steps() {
        assert!(report.contains(name), "MODEL.md does not name {name}");
    }
}

/// What a walk over many states has done, by its words.
fn done() -> BTreeSet<&'static str> {
    let faults = "--records 2 --late 2 --rebalances 2 --crashes 1 --zombies 1 --unknowns 1 --timeouts 1";
    let config = Config::parse(faults.split(' ')).expect("written correctly");
    let (mut done, mut found, mut dice) = (BTreeSet::new(), vec![], 1u64);
    for _ in 0..3_000 {
        let mut state = config.start();
        for _ in 0..120 {
            next_steps(&config, &state, &mut found);
            if found.is_empty() {
                break;
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = found.swap_remove((dice >> 33) as usize % found.len());
            done.insert(step.what);
            state = step.next;
        }
    }
    done
}

#[test]
fn a_walk_takes_every_step() {
    let done = done();
    // WAIT has no step of its own: a SEND ends with its delivery. RECOVER 4 to 8 are one step.
    for name in steps().iter().filter(|name| **name != "WAIT") {
        let seen = match *name {
            // The second look is rare: a control shows it on its way to the halt.
            "RECOVER 7" => {
                let config = Config::parse("--off wait_lso --rebalances 1".split(' ')).unwrap();
                check(&config).trace.iter().any(|line| line.contains(name))
            }
            "RECOVER 5" | "RECOVER 6" | "RECOVER 8" => done.contains("RECOVER 4 to 8: rolled forward, compared"),
            name => done.iter().any(|what| what.contains(name)),
        };
        assert!(seen, "no step is called {name}: {done:?}");
    }
}
