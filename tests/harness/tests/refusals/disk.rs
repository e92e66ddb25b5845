//! The data directory: full, held, of another version, of another application.
//! Invariant: what was committed is in the changelog, so no disk can lose it.

use super::app::{App, ended};
use super::world::World;
use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// A file system mounted over a directory for as long as this lives.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> io::Result<Disk> {
        fs::create_dir_all(at)?;
        let place = CString::new(at.to_str().expect("a temporary directory's name is text"))?;
        let size = c"size=16m";
        // SAFETY: a plain system call; all strings live through it.
        let done =
            unsafe { libc::mount(c"tmpfs".as_ptr(), place.as_ptr(), c"tmpfs".as_ptr(), 0, size.as_ptr().cast()) };
        if done == 0 { Ok(Disk(at.to_owned())) } else { Err(io::Error::last_os_error()) }
    }

    /// To the last byte.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let place = CString::new(self.0.to_str().expect("mounted here")).expect("mounted here");
        // SAFETY: a plain system call; the string lives through it.
        unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
    }
}

/// A file system that is really full, met at work. Wants the right to mount one.
pub fn out_of_space(world: &World) {
    let app = App::ready(world, "space", 20);
    let disk = match Disk::mount(&app.dir.join("state")) {
        Ok(disk) => disk,
        Err(error) => {
            // Not by a macro: those are captured while a test passes.
            let text = format!("NOT RUN: a state directory without space: no tmpfs can be mounted here: {error}\n");
            return io::stderr().write_all(text.as_bytes()).unwrap();
        }
    };
    let folder = app.folder().display().to_string();
    let says = ["no room for store", &*folder, "No space left on device", "free space on its file system"];
    let mut process = app.start();
    app.settled();
    disk.fill();
    let deadline = Instant::now() + Duration::from_secs(60);
    // What fits into a page that a file has already is still written.
    while process.ended().is_none() {
        assert!(Instant::now() < deadline, "it runs on without space");
        app.feed(200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(ended(&mut process, 1, &says).causes.len(), 1);
    disk.free();
    app.feed(20);
    app.run_through();
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
