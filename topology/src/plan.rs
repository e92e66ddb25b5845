//! A topology as a graph of topics, stages and steps, for `tidemill plan`: as JSON, and as a Mermaid flowchart.
//!
//! Knows nothing of Kafka. Invariant: both say what [`Topology::describe`](crate::Topology::describe) says in words.

use crate::graph::{Stage, Topology};
use crate::operators::Node;
use crate::windows::{Emit, Group, Target};
use serde_json::{Value, json};
use std::fmt::Write;

impl Topology {
    /// `{"app", "stages": [{"name", "reads", "changelog", "steps": [...], "groupings": [...]}], "topics": [...]}`.
    pub fn plan_json(&self) -> Value {
        let outputs = self.outputs.iter().map(|o| {
            json!({ "topic": &*o.name, "role": "output", "from": &*o.input, "copy": o.copy, "partitions": o.partitions })
        });
        let hops =
            self.repartitions.iter().map(|r| json!({ "topic": &*r.topic, "role": "repartition", "from": &*r.source }));
        let changelogs = self.stages.iter().filter_map(|s| s.changelog.as_deref());
        let changelogs = changelogs.map(|topic| json!({ "topic": topic, "role": "changelog" }));
        let letters = json!({ "topic": &*self.dead_letters.topic, "role": "dead letters" });
        let topics: Vec<Value> = outputs.chain(hops).chain(changelogs).chain([letters]).collect();
        let stages: Vec<Value> = self.stages.iter().map(|s| s.plan_json()).collect();
        json!({ "app": self.app, "stages": stages, "topics": topics })
    }

    /// A `flowchart LR`.
    pub fn plan_mermaid(&self) -> String {
        let mut chart = Chart { out: "flowchart LR\n".to_owned(), names: Vec::new() };
        for stage in &self.stages {
            let id = chart.id(&format!("stage {}", stage.name));
            let topic = chart.topic(&stage.topic);
            let label: Vec<String> = stage.words();
            chart.line(&format!("{id}[\"{}\"]", escape(&label.join("\n"))));
            chart.line(&format!("{topic} --> {id}"));
            for (topic, style) in stage.writes() {
                let topic = chart.topic(&topic);
                chart.line(&format!("{id} {style} {topic}"));
            }
            let letters = chart.topic(&stage.dead_letters.topic);
            if !stage.takes_partials() {
                chart.line(&format!("{id} -. dead letters .-> {letters}"));
            }
        }
        chart.out
    }
}

impl Stage {
    fn plan_json(&self) -> Value {
        let mut steps = Vec::new();
        self.root.walk(&mut |node| {
            let operators: Vec<String> = node.operators.iter().map(ToString::to_string).collect();
            let copies: Vec<&str> = node.copies.iter().map(|c| &*c.topic).collect();
            let groupings: Vec<&str> = node.groups.iter().map(|t| self.step_of(*t)).collect();
            steps.push(json!({ "name": node.name, "operators": operators, "copies": copies, "groupings": groupings }));
        });
        let steps = if self.takes_partials() { Vec::new() } else { steps };
        let here = self.groups.iter().map(|g| group_json(g, None));
        let hops = self.hops.iter().map(|h| group_json(&h.group, Some(&h.topic)));
        let groupings: Vec<Value> = here.chain(hops).collect();
        json!({
            "name": &*self.name, "reads": &*self.topic, "changelog": self.changelog.as_deref(),
            "takes_partials": self.takes_partials(), "steps": steps, "groupings": groupings,
        })
    }

    /// Its label: a line a step.
    fn words(&self) -> Vec<String> {
        let mut lines = vec![format!("stage {}", self.name)];
        if self.takes_partials() {
            lines.extend(self.groups.iter().map(|g| group_words(g, "merge")));
            return lines;
        }
        self.root.walk(&mut |node: &Node| {
            lines.extend(node.operators.iter().map(|o| format!("{}: {o}", node.name)));
            lines.extend(node.groups.iter().map(|target| match target {
                Target::Entries(i) => group_words(&self.groups[*i], "group"),
                Target::Partials(i) => group_words(&self.hops[*i].group, "fold"),
            }));
        });
        lines
    }

    /// Topics, and the arrow to each.
    fn writes(&self) -> Vec<(String, &'static str)> {
        let mut topics = Vec::new();
        self.root.walk(&mut |node| topics.extend(node.copies.iter().map(|c| (c.topic.to_string(), "-- copies -->"))));
        let rows = self.groups.iter().flat_map(|g| &g.outputs);
        topics.extend(rows.map(|o| (o.topic.to_string(), "-- results -->")));
        topics.extend(self.hops.iter().map(|h| (h.topic.to_string(), "-- partials -->")));
        topics
    }
}

fn group_words(group: &Group, verb: &str) -> String {
    format!("{}: {verb} by {}, {}", group.name, group.by.words(), group.shape())
}

fn group_json(group: &Group, topic: Option<&str>) -> Value {
    let window = group.window.map(|w| json!({ "size_ms": w.size, "every_ms": w.hop, "grace_ms": w.grace }));
    let aggregates: serde_json::Map<String, Value> =
        group.aggregates.iter().map(|a| (a.name.clone(), Value::String(a.function.to_string()))).collect();
    let emit = match group.emit {
        Emit::Every => json!("every"),
        Emit::Coalesced { updates, last } => json!({ "updates_ms": updates, "final": last }),
    };
    json!({ "step": &*group.name, "group_by": group.by.words(), "window": window, "aggregate": aggregates, "emit": emit,
        "partials_to": topic })
}

/// Mermaid's quotes and brackets.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br/>")
}

struct Chart {
    out: String,
    /// What has an id: its place here.
    names: Vec<String>,
}

impl Chart {
    fn id(&mut self, name: &str) -> String {
        let index = self.names.iter().position(|n| n == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        format!("n{index}")
    }

    /// The id of a topic, which is drawn when it is first named.
    fn topic(&mut self, name: &str) -> String {
        let known = self.names.len();
        let id = self.id(&format!("topic {name}"));
        if self.names.len() > known {
            self.line(&format!("{id}[(\"{}\")]", escape(name)));
        }
        id
    }

    fn line(&mut self, text: &str) {
        writeln!(self.out, "  {text}").expect("memory takes every byte");
    }
}
