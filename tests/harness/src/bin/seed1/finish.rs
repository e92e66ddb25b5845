//! The end: waits until the tables are right, stops the job, and asks every question. Invariant: what is judged is what
//! is there after the job has ended.

use crate::world::{DATABASE, DEAD, INPUT, World};
use serde_json::Value;
use std::time::{Duration, Instant};
use tidemill_harness::hourly::{Census, Judge};

/// What the tasks have counted.
#[derive(Default)]
struct Counts {
    input: u64,
    late: u64,
    duplicate: u64,
    dead: u64,
}

impl World {
    pub fn judge(&mut self) -> Result<Census, String> {
        self.wait_tables()?;
        self.settle()?;
        self.stop();
        self.say("the job has ended");
        let (findings, census) = {
            let judge = self.judge_of()?;
            judge.load_input(&self.broker, INPUT)?;
            judge.load_dead(&self.broker, DEAD, INPUT)?;
            (judge.findings()?, judge.census()?)
        };
        self.findings.extend(findings);
        self.check_premises(&census);
        self.check_counts(&census)?;
        Ok(census)
    }

    fn judge_of(&self) -> Result<Judge<'_>, String> {
        Judge::open(&self.psql, DATABASE)
    }

    /// The job makes its tables itself, at its start.
    fn wait_tables(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.psql.sql(DATABASE, "SELECT 1 FROM hourly_aggregations, raw_events LIMIT 1") {
            if Instant::now() > until {
                return Err(format!("the job did not make its tables: {error}"));
            }
            std::thread::sleep(Duration::from_millis(200));
            self.watch()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let judge = self.judge_of()?;
        judge.load_input(&self.broker, INPUT)?;
        self.say("the last event has come; the oracle has its answer");
        // Of a busy machine the oracle's own work may take longer than the job is given.
        let until = Instant::now() + Duration::from_secs(self.options.patience);
        loop {
            let left = Judge::again(&self.psql, DATABASE).differences()?;
            if left == 0 {
                self.settled_ms = Some(began.elapsed().as_millis() as u64);
                self.say("the tables are right");
                return Ok(());
            }
            if Instant::now() > until {
                // No end of the campaign: the questions below say what differs.
                self.findings.push(format!("{left} rows differ after {} s", self.options.patience));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
            self.watch()?;
        }
    }

    /// A campaign in which nothing went wrong by itself shows nothing.
    fn check_premises(&mut self, census: &Census) {
        let wanted = [
            ("records", census.records == self.options.records),
            ("duplicates", census.duplicates > 0),
            ("late events", census.late > 0),
            ("broken events", census.broken > 0),
            ("users on two partitions", census.scattered > 0 || self.options.partitions == 1),
        ];
        let missing = wanted.iter().filter(|(_, is_there)| !is_there);
        self.findings.extend(missing.map(|(what, _)| format!("the input has not the {what} that it should have")));
    }

    /// in = out + filtered + duplicate + dead for every task, and the first stage's sums are the oracle's.
    fn check_counts(&mut self, census: &Census) -> Result<(), String> {
        let (file, state) = (self.file.display().to_string(), self.state.display().to_string());
        let dump = self.mill(&["state", "dump", &file, "--state", &state, "-o", "json"])?;
        let mut first = Counts::default();
        for line in dump.lines() {
            let line: Value = serde_json::from_str(line).map_err(|e| format!("state dump: {e}: {line}"))?;
            let Some(counts) = line.get("checkpoint").and_then(|c| c.get("counts")) else { continue };
            let task = line["task"].as_str().unwrap_or_default();
            let count = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
            let gone = count("output") + count("filtered") + count("duplicate") + count("dead");
            if count("input") != gone {
                self.findings.push(format!("task {task}: in is not out + filtered + duplicate + dead: {counts}"));
            }
            if task.contains(&format!("/{INPUT}/")) {
                first.input += count("input");
                first.late += count("late");
                first.duplicate += count("duplicate");
                first.dead += count("dead");
            }
        }
        for (name, found, wanted) in [
            ("in", first.input, census.records),
            ("late", first.late, census.late),
            ("duplicate", first.duplicate, census.duplicates),
            ("dead", first.dead, census.broken),
        ] {
            if found != wanted {
                self.findings.push(format!("the first stage counted {name} {found}, the oracle {wanted}"));
            }
        }
        Ok(())
    }
}
