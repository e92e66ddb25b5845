"""Workloads at a steady rate: events come when they are due, whoever is slow. The generator's class Latency sends and listens."""
import json
import subprocess
import time
from .. import check, peers, processes
from ..rig import java
from ..trial import Failed, Trial
from .drains import EVENTS

RATE, FIRST = 5000, 20_000
TIMES, BRIEF = (15, 40), (3, 8)      # seconds of warm-up, seconds that count
HOUR = "2026-11-21T10:00:00Z"      # no event of the first ones is in it


def live(rig, peer, kind="agg", times=TIMES):
    """A peer that has worked a little already meets RATE events a second: latency, and CPU once all is warm."""
    topic = rig.fill(f"live-{int(time.time() * 1000)}", FIRST, **EVENTS)
    head = {"peer": peer.name, **peer.note, "kind": kind, "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            trial.start()
            trial.watch(topic.n)
            time.sleep(peer.settle)
            row = _measure(trial, kind, times)
            time.sleep(peer.settle)
            row["rss_mb"] = round(processes.peak_rss_mb(trial.child.pid) or 0)
            trial.stop()
            wrong = _wrong(trial, kind, row["ms"])
    except Failed as failure:
        wrong = [str(failure)]
    finally:
        rig.drop(topic)
    return {**head, "correct": False, "wrong": wrong} if wrong else {**head, "correct": True, **row}


def _measure(trial, kind, times):
    rig, (warm, seconds) = trial.rig, times
    command = java("peers.Latency", "--bootstrap", rig.bootstrap, "--in", trial.topic.name, "--out", trial.out, "--rate", str(RATE),
                   "--seconds", str(warm + seconds), "--warmup", str(warm), "--kind", kind, "--start", HOUR, heap="512m")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as meter:
        meter.stdout.readline()                                    # "warm"
        began, app, broker = time.monotonic(), processes.cpu(trial.child.pid), processes.cpu(rig.broker_pid)
        time.sleep(seconds - 1)
        took, used, other = time.monotonic() - began, processes.cpu(trial.child.pid), processes.cpu(rig.broker_pid)
        if used is None:
            raise Failed(f"{trial.peer.name} ended early: {trial.last_words()}")
        said = json.loads(meter.stdout.read().strip().splitlines()[-1])
    events = RATE * took
    row = {"n": said["sent"], "ms": said["ms"], "app_us": round((used - app) / events * 1e6, 2), "broker_us": round((other - broker) / events * 1e6, 2),
           "cpu_percent": round((used - app) / took * 100, 2), "unanswered": said["sent"] - said["answered"]}
    return {**row, "us": row["app_us"]}


def _wrong(trial, kind, ms):
    if ms["p50"] < 0:
        return ["nothing was answered"]
    if kind == "pass":
        ends = trial.rig.ends([(trial.topic.name, p) for p in range(trial.topic.partitions)])
        got = []
        check.read(trial.rig.bootstrap, trial.out, trial.topic.partitions, lambda _, key, value: got.append(1))
        return [] if len(got) == sum(ends.values()) else [f"{len(got)} records came of {sum(ends.values())}"]
    oracle = check.recount(trial.rig.bootstrap, trial.topic.name, trial.topic.partitions)
    return check.hourly(trial.rows(), oracle)


def latency(rig, book, options):
    """Latency at 5 000 events a second, commits every 100, 50, 20 and 10 ms"""
    runs = [(p(commit=f"{c}ms"), "agg") for c in (100, 50, 20, 10) for p in (peers.tidemill, peers.tidemill_by_partition)]
    runs += [(peers.ks_expert(commit=100), "agg"), (peers.ks_expert(commit=20), "agg"), (peers.ks_dsl(), "agg"),
             (peers.tidemill("w0", commit="100ms"), "pass"), (peers.ks_pass(), "pass")]
    _rounds(rig, book, options, "latency", runs)


def steady(rig, book, options):
    """CPU of the process at a steady 5 000 events a second, commits every 100 ms"""
    ours = [peers.tidemill(commit="100ms"), peers.tidemill_by_partition(commit="100ms")]
    runs = [(p, "agg") for p in (*ours, peers.ks_expert(), peers.ks_expert_memory(), peers.ks_dsl())]
    _rounds(rig, book, options, "steady", runs)


def _rounds(rig, book, options, name, runs):
    """Peers in turn. Before them the first one twice on nobody's account: a broker that has not compiled its transactions yet takes
    four times as long for one."""
    for _ in range(0 if options.brief else 2):
        live(rig, *runs[0])
    for round_ in range(1, options.rounds + 1):
        for peer, kind in runs:
            if book.wants(peer):
                book.add(name, round_, live(rig, peer, kind, BRIEF if options.brief else TIMES))
