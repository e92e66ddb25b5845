//! The data directory: full, held, of another version, of another application.
//! Invariant: what was committed is in the changelog, so no disk can lose it.

use super::app::{App, ended};
use super::world::World;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A limit on the size of files stands for a disk that is full: the write fails in the same place.
pub fn full(world: &World) {
    let app = App::ready(world, "full", 20);
    let mut process = app.start();
    app.settled();
    limit_files(process.pid(), 0);
    app.feed(20);
    let store = app.store(0).display().to_string();
    let folder = store.trim_end_matches('0');
    let refusal = ended(&mut process, 1, &["no room for store", folder, "free space on its file system"]);
    assert_eq!(refusal.causes.len(), 1);
    app.feed(20);
    app.run_through();
}

fn limit_files(pid: u32, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a plain system call; the limit lives through it.
    let set = unsafe { libc::prlimit(pid as i32, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

pub fn held_newer_and_unusable(world: &World) {
    let app = App::ready(world, "directory", 20);
    let mut first = app.start();
    first.wait_message("all tasks ready", Duration::from_secs(30)).unwrap();
    let folder = app.folder().display().to_string();
    let refusal = app.refused(78, &[&folder, "is held by another process", "--state"]);
    assert_eq!(refusal.causes.len(), 1);
    assert!(first.ended().is_none());
    app.settled();
    app.stop(first);

    fs::write(app.folder().join("format"), "2\n").unwrap();
    assert_eq!(app.refused(78, &[&folder, "it has format 2", "run the newer version"]).causes.len(), 1);
    fs::write(app.folder().join("format"), "1\n").unwrap();
    app.feed(20);
    app.run_through();

    fs::write(app.dir.join("a-file"), "").unwrap();
    let place = app.dir.join("a-file").display().to_string();
    app.edit(&[("STATE", &place)]);
    assert_eq!(app.refused(78, &[&place, "cannot be made", "check 'state:'"]).causes.len(), 1);
}

pub fn stores_of_others(world: &World) {
    let app = App::ready(world, "mine", 20);
    let process = app.start();
    app.settled();
    app.stop(process);
    let theirs = App::ready(world, "theirs", 20);
    theirs.run_through();
    let twin = App::on(world, "twin", &app.input);
    twin.make_topics();
    twin.also_fed_by(&app);
    twin.run_through();
    let says_other =
        ["task events/mine-input/0", "that of theirs-events-theirs-input-changelog/0", "move that folder away"];
    let says_twin = ["task events/mine-input/0", "that of twin-events-mine-input-changelog/0", "move that folder away"];
    for (other, says) in [(theirs.store(0), &says_other[..]), (twin.store(0), &says_twin[..])] {
        let kept = app.dir.join("kept");
        fs::rename(app.store(0), &kept).unwrap();
        copy(&other, &app.store(0));
        assert_eq!(app.refused(1, says).causes.len(), 1);
        fs::remove_dir_all(app.store(0)).unwrap();
        fs::rename(&kept, app.store(0)).unwrap();
    }
    app.feed(20);
    app.run_through();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
