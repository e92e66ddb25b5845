//! Which request is taken, when it is given back, and whether the process is killed then: plain values, and the sweeps
//! over them. Knows the proxy's rules only. Invariant: the same number and seed give the same sweep.

use crate::proxy::{Action, Kind, Release, Rule};
use crate::rng::Rng;

/// Kinds that every transaction sends.
pub const KINDS: [Kind; 5] =
    [Kind::AddPartitionsToTxn, Kind::Produce, Kind::AddOffsetsToTxn, Kind::TxnOffsetCommit, Kind::EndTxn];

type Moment = fn(Kind, u64) -> Release;
const MOMENTS: [(&str, Moment); 3] = [
    ("before", Release::before),
    ("after_forwarding", Release::after_forwarding),
    ("after_answer", Release::after_answer),
];

/// SIGKILL, and a new process at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    No,
    /// As soon as the late request is answered.
    AfterStray,
    /// When the commit of the transaction after is on its way; it is held and never arrives before the new process.
    AtNextCommit,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub kind: Kind,
    pub action: Action,
    pub nth: u64,
    pub is_reset: bool,
    pub kill: Kill,
    pub name: String,
}

impl Schedule {
    pub fn rule(&self) -> Rule {
        let rule = Rule::on(self.kind, self.action).nth(self.nth);
        let rule = if self.kind == Kind::EndTxn { rule.committed(true) } else { rule };
        if self.is_reset { rule.reset() } else { rule }
    }

    pub fn is_held(&self) -> bool {
        matches!(self.action, Action::HoldAndCut(_) | Action::Hold(_))
    }
}

/// The sweep over commits that come late: by moment, kind and count of what passes first; kills in between.
pub fn commits(n: usize, seed: u64) -> Vec<Schedule> {
    let mut rng = Rng::new(seed);
    let mut all = Vec::new();
    while all.len() < n {
        let pass = all.len();
        for m in 1..=3 {
            for (moment, release) in MOMENTS {
                all.extend(KINDS.map(|kind| commit((moment, release), kind, m, &mut rng)));
            }
        }
        // The order is drawn anew in each pass, so that no schedule always follows the same other.
        for at in (pass + 1..all.len()).rev() {
            all.swap(at, pass + rng.below((at - pass + 1) as u64) as usize);
        }
    }
    all.truncate(n);
    all
}

/// Of the sweep, what is most dangerous: given back when all data of the next transaction is there and none of its
/// offsets, and that transaction's own commit then never arrives.
pub fn dangerous(n: usize) -> Vec<Schedule> {
    let is_it =
        |schedule: &Schedule| schedule.kill == Kill::AtNextCommit && schedule.name.contains("before AddOffsetsToTxn 1");
    commits(2_000, 3).into_iter().filter(is_it).take(n).collect()
}

fn commit((moment, release): (&str, Moment), kind: Kind, m: u64, rng: &mut Rng) -> Schedule {
    // The retry is an EndTxn as well: the next transaction's is the second.
    let is_next =
        (m == 1 && kind != Kind::EndTxn) || (m <= 2 && [Kind::AddPartitionsToTxn, Kind::Produce].contains(&kind));
    let kill = match rng.below(6) {
        0 => Kill::AfterStray,
        1 | 2 if is_next => Kill::AtNextCommit,
        _ => Kill::No,
    };
    Schedule {
        kind: Kind::EndTxn,
        action: Action::HoldAndCut(release(kind, m)),
        nth: 1 + rng.below(2),
        is_reset: rng.permille(300),
        kill,
        name: format!("commit released {moment} {kind:?} {m}, {kill:?}"),
    }
}

/// Every other kind: lost, its answer lost, and held and cut at each position of a transaction.
pub fn kinds() -> Vec<Schedule> {
    let mut all = Vec::new();
    let places = [
        (Kind::AddPartitionsToTxn, 3),
        (Kind::Produce, 8),
        (Kind::AddOffsetsToTxn, 2),
        (Kind::TxnOffsetCommit, 2),
        (Kind::InitProducerId, 1),
    ];
    let releases = [
        ("before EndTxn 1", Release::before(Kind::EndTxn, 1)),
        ("after EndTxn 1", Release::after_answer(Kind::EndTxn, 1)),
        ("before InitProducerId 1", Release::before(Kind::InitProducerId, 1)),
        ("after InitProducerId 1", Release::after_answer(Kind::InitProducerId, 1)),
        ("before EndTxn 2", Release::before(Kind::EndTxn, 2)),
        ("after Produce 2", Release::after_answer(Kind::Produce, 2)),
    ];
    for (kind, positions) in places {
        let make = |action, nth, what: &str| Schedule {
            kind,
            action,
            nth,
            is_reset: nth % 2 == 0,
            kill: Kill::No,
            name: format!("{kind:?} {nth} {what}"),
        };
        for nth in 1..=positions {
            all.push(make(Action::CutBefore, nth, "lost"));
            all.push(make(Action::CutAfter, nth, "answer lost"));
            all.extend(releases.iter().map(|(name, release)| make(Action::HoldAndCut(*release), nth, name)));
        }
    }
    all
}
