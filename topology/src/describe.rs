//! A topology in words, for `tidemill check` and `plan`.
//!
//! Knows nothing of Kafka. Invariant: every topic that will be read or written is named.

use crate::event_time;
use crate::graph::{Stage, Start, Topology};
use crate::operators::Node;
use crate::windows::{Emit, Group, Hop, KeyForm, RowOutput, Target, ValueForm};
use std::fmt::Write;

impl Topology {
    /// Sources, stages, outputs and internal topics, as text for a person.
    pub fn describe(&self) -> String {
        let mut out = format!("app {}\n", self.app);
        for stage in &self.stages {
            stage.describe(&mut out);
        }
        line(&mut out, 0, "outputs");
        for output in &self.outputs {
            let partitions = match output.partitions {
                Some(n) => format!("{n} partitions"),
                None => format!("partitions as {}", output.input),
            };
            let how = if output.copy { "copies from" } else { "results from" };
            line(&mut out, 1, &format!("{}  {how} {}, {partitions}", output.name, output.input));
        }
        line(&mut out, 0, "internal topics");
        for hop in &self.repartitions {
            line(&mut out, 1, &format!("{}  partials, partitions as {}, deleted once read", hop.topic, hop.source));
        }
        for changelog in self.stages.iter().filter_map(|s| s.changelog.as_ref()) {
            line(&mut out, 1, &format!("{changelog}  changelog, compacted"));
        }
        let letters = &self.dead_letters;
        let late = if letters.late { ", late records too" } else { "" };
        line(&mut out, 1, &format!("{}  dead letters, kept {} h{late}", letters.topic, letters.keep.as_secs() / 3600));
        out
    }
}

impl Stage {
    fn describe(&self, out: &mut String) {
        let start = match self.start {
            Start::Earliest => "earliest".to_owned(),
            Start::Latest => "latest".to_owned(),
            Start::At(time) => event_time::text(time),
            Start::Committed => "committed offsets".to_owned(),
        };
        line(out, 0, &format!("stage {} reads {} from {start}", self.name, self.topic));
        let Some(reading) = self.reading() else {
            line(out, 1, "partials of all its records, whatever partition they came from");
            self.groups.iter().for_each(|g| group(g, 1, out));
            return;
        };
        let time = reading.time.as_ref().map_or("record timestamp".to_owned(), |t| t.to_string());
        line(out, 1, &format!("key {}, value {}, time {time}", reading.key_format, reading.format));
        if self.groupings().any(|g| g.window.is_some()) {
            line(
                out,
                1,
                &match reading.idle {
                    Some(ms) => format!("a partition that is silent for {ms} ms has its windows closed by the clock"),
                    None => "a partition without records keeps its windows open: set idle to have the clock close them"
                        .to_owned(),
                },
            );
        }
        self.node(&self.root, 1, out);
    }

    fn node(&self, node: &Node, depth: usize, out: &mut String) {
        for operator in &node.operators {
            line(out, depth, &operator.to_string());
        }
        for copy in &node.copies {
            line(out, depth, &format!("-> {} (copy)", copy.topic));
        }
        for target in &node.groups {
            match target {
                Target::Entries(i) => group(&self.groups[*i], depth, out),
                Target::Partials(i) => {
                    let Hop { group, topic } = &self.hops[*i];
                    line(out, depth, &format!("step {} by {}: partials -> {topic}", group.name, group.by.words()));
                }
            }
        }
        for step in &node.steps {
            line(out, depth, &format!("step {}", step.name));
            self.node(step, depth + 1, out);
        }
    }
}

fn group(group: &Group, depth: usize, out: &mut String) {
    line(out, depth, &format!("step {} by {}", group.name, group.by.words()));
    line(out, depth + 1, &group.shape());
    let emit = match group.emit {
        Emit::Every => "every record".to_owned(),
        Emit::Coalesced { updates, last } => {
            let updates = updates.map(|ms| format!("updates at most every {ms} ms"));
            let last = last.then(|| "final when the window closes".to_owned());
            updates.into_iter().chain(last).collect::<Vec<_>>().join(", ")
        }
    };
    line(out, depth + 1, &format!("speaks: {emit}"));
    for output in &group.outputs {
        line(out, depth + 1, &format!("-> {} ({})", output.topic, forms(group, output)));
    }
}

fn forms(group: &Group, output: &RowOutput) -> String {
    let key = match output.key {
        KeyForm::Json => "json",
        KeyForm::Text => "text",
        KeyForm::Plain(format) => format.name(),
    };
    let name = |index: usize| group.aggregates[index].name.as_str();
    let value = match &output.value {
        ValueForm::Json(fields) => {
            format!("json with {}", fields.iter().map(|(i, _)| name(*i)).collect::<Vec<_>>().join(", "))
        }
        ValueForm::Plain(format, index) => format!("{} as {format}", name(*index)),
    };
    format!("key {key}, value {value}")
}

fn line(out: &mut String, depth: usize, text: &str) {
    writeln!(out, "{:indent$}{text}", "", indent = depth * 2).expect("memory takes every byte");
}
