//! TLS to PostgreSQL in every mode, and secrets from files. Invariant: no secret is ever in a log.

use super::app::{App, LOG, LONG, exact, ids};
use super::world::World;
use tidemill_harness::postgres::Postgres;

const PASSWORD: &str = "correct horse %41 battery";

pub fn tls(world: &World) {
    let postgres = Postgres::start(&["--tls"]);
    let db = postgres.create("guarded");
    let grants = "GRANT ALL ON SCHEMA public TO guarded; GRANT ALL ON ALL TABLES IN SCHEMA public TO guarded; \
        GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guarded";
    db.run(&format!("CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'; {LOG}; {grants}"));
    let other = Postgres::start(&["--tls"]);
    let sink = |host: &str, how: &str| {
        let port = postgres.port;
        let at = format!("host: {host}, port: {port}, dbname: guarded, user: guarded, password_file: secret, {how}");
        format!("batch: {{ rows: 50, interval: 50ms }}\npostgres: {{ {at}, table: log, mode: insert, migrate: true }}")
    };
    let right = postgres.authority().display().to_string();
    let wrong = other.authority().display().to_string();
    let app = App::new(world, "guarded", 1, &sink("localhost", "sslmode: require"));
    let check = || {
        let done = app.cli(&["check", "--live"]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!said.contains(PASSWORD), "{said}");
        (done.status.code(), said)
    };
    let refused = |says: &str| {
        let (code, said) = check();
        assert!(code == Some(78) && said.contains(says) && said.lines().count() == 1, "{says}: {said}");
    };
    refused("secret: No such file");
    // Relative to the topology's file, with the end of line that an editor leaves.
    std::fs::write(app.dir.join("secret"), "wrong\n").unwrap();
    refused("password authentication failed");
    let looked = String::from_utf8_lossy(&app.cli(&["doctor"]).stdout).into_owned();
    let says = |line: &&str| line.starts_with("BAD  database  ") && line.contains("password authentication failed");
    assert!(looked.lines().any(|line| says(&line)) && !looked.contains("wrong"), "{looked}");
    std::fs::write(app.dir.join("secret"), format!("{PASSWORD}\n")).unwrap();
    for (host, how, accepted) in [
        ("localhost", "sslmode: require".to_owned(), true),
        ("127.0.0.1", "sslmode: prefer".to_owned(), true),
        ("127.0.0.1", "sslmode: disable".to_owned(), false),
        ("127.0.0.1", format!("sslmode: verify-ca, sslrootcert: {right}"), true),
        ("127.0.0.1", format!("sslmode: verify-full, sslrootcert: {right}"), false),
        ("localhost", format!("sslmode: verify-full, sslrootcert: {right}"), true),
        ("localhost", format!("sslmode: verify-full, sslrootcert: {wrong}"), false),
        ("localhost", format!("sslmode: require, sslrootcert: {wrong}"), false),
        ("localhost", "sslmode: verify-ca".to_owned(), false),
    ] {
        app.edit(&sink(host, &how));
        let (code, said) = check();
        let missing = said.contains("table log") || said.is_empty();
        assert_eq!(code == Some(0), accepted && missing, "{host} {how}: {said}");
    }
    // A URL in a file, and everything that libpq's users write into one.
    let escaped = PASSWORD.replace('%', "%25").replace(' ', "%20");
    let url = format!(
        "postgres://guarded:{escaped}@localhost:{}/guarded?sslmode=verify-full&sslrootcert={right}",
        postgres.port
    );
    std::fs::write(app.dir.join("url"), url).unwrap();
    app.edit(
        "batch: { rows: 50, interval: 50ms }\npostgres: { url_file: url, table: log, mode: insert, migrate: true }",
    );
    app.feed(1, ids(0..100));
    let process = app.start();
    db.until("SELECT count(*) FROM log", "100", LONG);
    let secure = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'guarded'";
    assert_eq!(db.one(secure), "t");
    app.no_lag();
    app.stop(process);
    exact(&db, 100);
    let log = std::fs::read_to_string(app.dir.join("one.log")).unwrap();
    assert!(!log.contains(PASSWORD) && !log.contains(&escaped), "a secret is in the log");
}
