//! What the guarantees need of the brokers, asked before anything runs.
//!
//! Called by `runtime` at start and by `check --live`.
//! Invariant: a broker that does not verify partitions is refused, for a late Produce could join a later transaction.

use super::client::Connection;
use super::errors::{Fault, is_configuration};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const VERIFICATION: &str = "transaction.partition.verification.enable";

pub(super) type Admin = AdminClient<DefaultClientContext>;

pub(super) fn admin(connection: &Connection) -> Result<Admin, Fault> {
    let wrong = |e: KafkaError| Fault::configuration(format!("{e}; check kafka.properties"));
    connection.admin().create().map_err(wrong)
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE))
}

/// Broker ids of the cluster.
///
/// # Errors
/// No broker answers, or the credentials are wrong.
pub(super) fn reach(connection: &Connection, admin: &Admin) -> Result<Vec<i32>, Fault> {
    let until = Instant::now() + PATIENCE;
    loop {
        match admin.inner().fetch_metadata(None, Duration::from_secs(3)) {
            Ok(metadata) => return Ok(metadata.brokers().iter().map(|b| b.id()).collect()),
            Err(e) => unreachable_yet(connection, &e, Instant::now() > until)?,
        }
    }
}

fn unreachable_yet(connection: &Connection, error: &KafkaError, over: bool) -> Result<(), Fault> {
    let brokers = &connection.brokers;
    if error.rdkafka_error_code().is_some_and(is_configuration) {
        let remedy = "check sasl.username, sasl.password and security.protocol in kafka.properties";
        return Err(Fault::configuration(format!("kafka at {brokers} refused us: {error}; {remedy}")));
    }
    if over {
        let remedy =
            "check kafka.brokers, that the broker runs, and security.protocol and credentials in kafka.properties";
        return Err(Fault::configuration(format!("no kafka broker answers at {brokers}: {error}; {remedy}")));
    }
    Ok(())
}

/// Refuses a cluster on which the guarantees would not hold.
///
/// # Errors
/// Names the broker, its setting and the remedy.
pub fn refuse_unfit(connection: &Connection) -> Result<(), Fault> {
    let admin = admin(connection)?;
    for id in reach(connection, &admin)? {
        match config(&admin, ResourceSpecifier::Broker(id), VERIFICATION)? {
            Some(v) if v == "true" => {}
            Some(_) => {
                let cause = format!("broker {id} has {VERIFICATION}=false: a delayed record could be committed twice");
                return Err(Fault::configuration(format!("{cause}; set it to true, its default")));
            }
            None => {
                let cause = format!("broker {id} does not know {VERIFICATION}");
                return Err(Fault::configuration(format!("{cause}: it is older than Kafka 3.6; upgrade it")));
            }
        }
    }
    Ok(())
}

/// How long a topic keeps tombstones.
///
/// # Errors
/// The topic is not there, or may not be described.
pub fn delete_retention_ms(connection: &Connection, topic: &str) -> Result<i64, Fault> {
    let value = config(&admin(connection)?, ResourceSpecifier::Topic(topic), "delete.retention.ms")?;
    Ok(value.and_then(|v| v.parse().ok()).unwrap_or(86_400_000))
}

fn config(admin: &Admin, of: ResourceSpecifier<'_>, name: &str) -> Result<Option<String>, Fault> {
    let value = |r: &ConfigResource| r.get(name).and_then(|e| e.value.clone());
    Ok(describe(admin, &[of])?.first().and_then(value))
}

/// Settings of brokers or topics.
pub(super) fn describe(admin: &Admin, of: &[ResourceSpecifier<'_>]) -> Result<Vec<ConfigResource>, Fault> {
    let failed =
        |what: String| Fault::configuration(format!("describing {:?}: {what}; grant DescribeConfigs to this user", of));
    let answers =
        futures_executor::block_on(admin.describe_configs(of, &options())).map_err(|e| failed(e.to_string()))?;
    answers.into_iter().map(|a| a.map_err(|code| failed(code.to_string()))).collect()
}
