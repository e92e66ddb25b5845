//! Golden files, for tests: encodings that stores and changelogs hold, and that may never change.
//!
//! Called by the tests of what is encoded. Invariant: a file is made only where there is none (`UPDATE_GOLDEN=1`), so what is
//! there is what was first written.
#![allow(clippy::unwrap_used, reason = "a panic is the report of a test")]

/// Holds each encoding against its line, in hex, of `golden/NAME`; gives the bytes that stand there.
pub(crate) fn hold(name: &str, encoded: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let lines: Vec<String> = encoded.iter().map(hex).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(golden.lines().collect::<Vec<_>>(), lines, "bytes in stores and changelogs have changed");
    let byte = |line: &str, at: usize| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap();
    golden.lines().map(|line| (0..line.len() / 2).map(|at| byte(line, at)).collect()).collect()
}
