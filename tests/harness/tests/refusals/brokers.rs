//! Brokers that are not there, want another password, or would not keep the promise.
//! Invariant: the process ends before it opens anything.

use super::app::App;
use super::topics::doctor;
use super::world::World;
use std::time::Duration;
use tidemill_harness::cluster::Cluster;

pub fn nobody_there(world: &World) {
    let app = App::ready(world, "nobody", 20);
    app.run_through();
    app.edit(&[("BROKERS", "127.0.0.1:1")]);
    let refusal = app.refused(78, &["no kafka broker answers at 127.0.0.1:1", "check kafka.brokers"]);
    assert_eq!(refusal.causes.len(), 1);
    assert!(refusal.took < Duration::from_secs(18), "{:?}", refusal.took);
    let bad = doctor(&app);
    assert!(bad.len() == 1 && bad[0].contains("no kafka broker answers at 127.0.0.1:1"), "{bad:?}");
    app.edit(&[]);
    app.feed(20);
    app.run_through();
}

pub fn passwords(world: &World) {
    let app = App::ready(world, "passwords", 20);
    let with = |mechanism: &str, password: &str| {
        let properties = format!(
            "security.protocol: sasl_plaintext\n    sasl.mechanism: {mechanism}\n    sasl.username: admin\n    sasl.password: {password}"
        );
        app.edit(&[("BROKERS", &world.sasl), ("# more properties", &properties)]);
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        with(mechanism, "wrong");
        let refusal = app.refused(78, &["refused us", &world.sasl, "check sasl.username, sasl.password"]);
        assert_eq!(refusal.causes.len(), 1);
        assert!(!refusal.causes[0].contains("wrong"), "a password in {:?}", refusal.causes);
    }
    with("SCRAM-SHA-512", "secret");
    app.run_through();
}

/// A user whom the broker knows, and who may do nothing.
pub fn no_rights(world: &World) {
    let app = App::ready(world, "rights", 20);
    let user = "security.protocol: sasl_plaintext\n    sasl.mechanism: PLAIN\n    sasl.username: guest\n    sasl.password: guest";
    app.edit(&[("BROKERS", &world.sasl), ("# more properties", user)]);
    let says = ["this user may not read the settings", "grant DescribeConfigs"];
    let bad = doctor(&app);
    assert!(bad.len() == 1 && says.iter().all(|word| bad[0].contains(word)), "{bad:?}");
    assert_eq!(app.refused(78, &says).causes.len(), 1);
}

pub fn one_that_does_not_verify(world: &World) {
    let cluster = Cluster::start(1, &[], &["transaction.partition.verification.enable=false"]);
    let app = App::new(world, "unverified");
    app.edit(&[("BROKERS", &cluster.bootstrap)]);
    let says = ["broker 1 has transaction.partition.verification.enable=false", "set it to true"];
    assert_eq!(app.refused(78, &says).causes.len(), 1);
    super::app::command_refused(&app.cli(&["check", "--live"]), 78, &says);
}
