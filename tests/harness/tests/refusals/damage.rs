//! Stores whose files were damaged, and a changelog that is not the one they came from.
//! Invariant: damage is found, said, and mended from the changelog; a changelog that is gone is not mended at all.

use super::app::{App, ended, text};
use super::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use tidemill_harness::process::Line;

/// The first file of a store whose name has this in it.
fn file(store: &Path, part: &str) -> PathBuf {
    let files = fs::read_dir(store).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|p| p.file_name().unwrap().to_string_lossy().contains(part)).collect();
    files.sort();
    files.into_iter().find(|p| fs::metadata(p).unwrap().len() > 0).unwrap_or_else(|| panic!("no {part} in {store:?}"))
}

fn tables(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store).unwrap().map(|e| e.unwrap().path());
    let tables: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "sst")).collect();
    assert!(!tables.is_empty(), "no table in {store:?}");
    tables
}

fn flip(path: &Path, from: usize, to: usize) {
    let mut bytes = fs::read(path).unwrap();
    let to = to.min(bytes.len());
    bytes[from..to].iter_mut().for_each(|b| *b ^= 0xff);
    fs::write(path, bytes).unwrap();
}

/// Only the damaged task is built again.
fn rebuilt(app: &App<'_>, lines: &[Line], what: &str) {
    for (task, why) in App::why(lines) {
        println!("  {what}: {task}: {why}");
        assert_eq!(why.starts_with("rebuilt: "), task.ends_with("/0"), "{what}: {task}: {why}");
    }
    app.exact();
}

pub fn each_kind_of_damage(world: &World) {
    let app = App::ready(world, "damaged", 200);
    app.run_through();
    let store = app.store(0);
    // The first rebuild leaves tables behind; until then all that there is stands in the store's own log.
    let damages: [(&str, &dyn Fn()); 6] = [
        ("no CURRENT", &|| fs::remove_file(store.join("CURRENT")).unwrap()),
        ("MANIFEST", &|| flip(&file(&store, "MANIFEST-"), 20, 200)),
        ("a table's end", &|| {
            for table in tables(&store) {
                let len = fs::metadata(&table).unwrap().len() as usize;
                flip(&table, len - 53, len);
            }
        }),
        ("its log", &|| flip(&file(&store, ".log"), 20, 60)),
        ("no tables", &|| {
            tables(&store).iter().for_each(|table| fs::remove_file(table).unwrap());
        }),
        ("empty CURRENT", &|| fs::write(store.join("CURRENT"), "").unwrap()),
    ];
    for (what, damage) in damages {
        damage();
        app.feed(20);
        let lines = app.run_through();
        rebuilt(&app, &lines, what);
    }
}

/// Opening a store does not read its blocks: one that is bad shows when its key comes.
pub fn a_block_that_is_read_late(world: &World) {
    let app = App::ready(world, "late-block", 200);
    app.run_through();
    let store = app.store(0);
    // A rebuild leaves tables behind; until then all that there is stands in the store's own log.
    fs::remove_file(store.join("CURRENT")).unwrap();
    app.run_through();
    // Its entries came as files that were made outside, which their properties say; no open reads those.
    let outside = b"external_sst_file";
    let entries = |table: &&PathBuf| fs::read(table).unwrap().windows(outside.len()).any(|bytes| bytes == outside);
    let tables = tables(&store);
    let damaged = tables.iter().filter(entries).map(|table| flip(table, 0, 24)).count();
    assert!((1..tables.len()).contains(&damaged), "{damaged} of {tables:?}");
    let unsound = app.cli(&["state", "check", "--task", "events/late-block-input/0"]);
    assert_eq!(unsound.status.code(), Some(1), "{}", text(&unsound.stdout));
    assert!(text(&unsound.stderr).contains("is damaged"), "{}", text(&unsound.stderr));
    app.feed(20);
    let mut process = app.start();
    let place = store.display().to_string();
    ended(&mut process, 1, &["is damaged", &place, "the next start does that"]);
    let process = app.start();
    app.settled();
    let lines = process.journal(|j| j.lines.clone());
    app.stop(process);
    rebuilt(&app, &lines, "a block");
}

pub fn a_changelog_that_was_made_again(world: &World) {
    let app = App::ready(world, "remade", 40);
    app.run_through();
    let before = app.cli(&["state", "dump"]).stdout;
    world.delete_topic(&app.changelog());
    app.refused(78, &[&format!("topic {} is missing", app.changelog())]);
    app.make_topics();
    let says = ["of a changelog that ends at 0", "task events/remade-input/", "restore it, or use a new app"];
    assert_eq!(app.refused(1, &says).causes.len(), 1);
    assert_eq!(text(&app.cli(&["state", "dump"]).stdout), text(&before));
    // Without the stores too: the group stands somewhere, and no state belongs to it.
    fs::rename(app.dir.join("state"), app.dir.join("kept")).unwrap();
    assert_eq!(app.refused(1, &["but the changelog has no checkpoint", "or use a new group"]).causes.len(), 1);
    app.exact();
}
