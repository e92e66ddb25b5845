//! Topologies with mistakes, and the command line. No broker is asked.
//! Invariant: a mistake in a file is told with its line and column.

use super::app::{App, command_refused, text, tidemill};
use super::world::World;

/// What is replaced in the topology, by what, and what is said.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    ("lanes: 1", "lanse: 1", &["app.yaml:10:1: unknown key 'lanse'", "did you mean 'lanes'?"]),
    ("lanes: 1", "lanes: many", &["app.yaml:10:8: 'lanes'", "is 'many'; write a whole number of 1 or more"]),
    ("lanes: 1", "lanes: [1]", &["app.yaml:10:8: 'lanes'", "a list"]),
    ("sum(amount)", "sum(record.vlaue)", &["app.yaml:20:37:", "record.vlaue", "did you mean 'value'?"]),
    ("shutdown: 20s", "shutdown: soon", &["app.yaml:11:11: 'shutdown'", "is 'soon'", "ms, s, m, h or d"]),
    (
        "# more properties",
        "enable.auto.commit: \"true\"",
        &["enable.auto.commit is set by Tidemill and may not be changed", "remove it"],
    ),
    ("# more properties", "security.protocol: nosuch", &["security.protocol", "check kafka.properties"]),
    ("# more properties", "no.such.property: 1", &["no.such.property", "check kafka.properties"]),
];

pub fn mistakes(world: &World) {
    let app = App::on(world, "mistakes", "mistakes-input");
    for (old, new, says) in MISTAKES {
        app.edit(&[(old, new)]);
        assert_eq!(app.refused(78, says).causes.len(), 1, "{new}");
        if !says.contains(&"check kafka.properties") {
            assert_eq!(command_refused(&app.cli(&["check"]), 78, says).len(), 1, "{new}");
        }
    }
    let filter = "  big:\n    from: events\n    do:\n      - filter: \"record.kee == 'a'\"\n  running:\n    from: big";
    app.edit(&[("  running:\n    from: events", filter)]);
    assert_eq!(app.refused(78, &["app.yaml:20:17:", "record.kee", "did you mean 'key'?"]).causes.len(), 1);
    std::fs::remove_file(app.file()).unwrap();
    app.refused(78, &["app.yaml: No such file or directory", "name a readable topology file"]);
}

pub fn names_that_look_like_truth_values(world: &World) {
    let app = App::on(world, "names", "names-input");
    for name in ["n", "y", "on", "off", "no", "yes"] {
        let (counted, fields) = (format!("{{ {name}: count()"), format!("fields: [{name}, total]"));
        app.edit(&[("{ n: count()", &counted), ("fields: [n, total]", &fields)]);
        let checked = app.cli(&["check"]);
        assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), String::new()), "{name}");
        assert!(text(&checked.stdout).contains(&format!("with {name}, total")), "{}", text(&checked.stdout));
    }
}

pub fn command_line(_: &World) {
    let run = |args: &[&str]| tidemill().args(args).output().unwrap();
    let wrong: [&[&str]; 5] =
        [&[], &["rnu"], &["run"], &["run", "a.yaml", "--statte", "x"], &["-o", "xml", "check", "a"]];
    for args in wrong {
        let output = run(args);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{args:?}");
        assert!(text(&output.stderr).contains("--help"), "{}", text(&output.stderr));
    }
    let version = run(&["--version"]);
    let said = text(&version.stdout);
    assert_eq!(version.status.code(), Some(0));
    assert!(said.starts_with("tidemill ") && said.contains("librdkafka 2.") && said.contains("RocksDB "), "{said}");
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["run", "check", "topics", "state"] {
        assert!(text(&help.stdout).contains(command));
    }
}
