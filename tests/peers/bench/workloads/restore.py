"""A stop, and a start with or without the state on disk: how long until new events are committed, and how fast state came back."""
import json
import re
import shutil
import time
from datetime import datetime
from confluent_kafka import Producer
from .. import check, peers, processes
from ..trial import Failed, Trial
from . import keyed
from .drains import EVENTS


def _restored(trial, skip):
    """(records, seconds) that the peer's own log says since its restart: from the first restore's begin to the last one's end."""
    text = trial.log.read_bytes()[skip:].decode(errors="replace")
    if trial.peer.name == peers.TIDEMILL:
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        ready = [line for line in lines if line["message"] == "task ready" and line["records"]]
        over = [(datetime.fromisoformat(line["timestamp"]).timestamp(), line["restore_ms"] / 1000) for line in ready]
        seconds = max(at for at, _ in over) - min(at - took for at, took in over) if over else 0.0
        return sum(line["records"] for line in ready), seconds
    begun = [int(x) for x in re.findall(r"^(\d+) restore start", text, re.M)]
    over = [(int(x), int(n)) for x, n in re.findall(r"^(\d+) restore end, records so far (\d+)", text, re.M)]
    return (over[-1][1], (over[-1][0] - begun[0]) / 1000) if begun and over else (0, 0.0)


def _again(rig, peer, topic, lost, logical):
    """`logical`: how many ids the state stands for, whatever its records look like; without it, its records count."""
    head = {"peer": peer.name, **peer.note, "disk": "lost" if lost else "kept", "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            trial.start()
            trial.watch(topic.n)
            time.sleep(peer.settle)
            trial.stop()
            if lost:
                shutil.rmtree(trial.state)
                trial.state.mkdir()
            _poke(rig, topic)
            total = sum(rig.ends([(topic.name, p) for p in range(topic.partitions)]).values())
            skip, began = trial.log.stat().st_size, time.monotonic()
            trial.start()
            while trial.read() < total:
                if time.monotonic() - began > 200 or trial.child.poll() is not None:
                    raise Failed(f"{peer.name} did not catch up: {trial.last_words()}")
                time.sleep(0.01)
            took, used = time.monotonic() - began, processes.cpu(trial.child.pid)
            time.sleep(peer.settle)
            trial.stop()
            wrong = check.hourly(trial.rows(), topic.oracle) if "keys" not in peer.note else keyed.entries(trial)
            records, seconds = _restored(trial, skip)
    except Failed as failure:
        return {**head, "correct": False, "wrong": [str(failure)]}
    if wrong:
        return {**head, "correct": False, "wrong": wrong}
    row = {"ready_s": round(took, 3), "restore_s": round(seconds, 3), "restored": records, "app_s": round(used, 2), "us": round(took, 3)}
    if lost and seconds:
        row["records_s"] = round((logical or records) / seconds)
    return {**head, "correct": True, **row}


def _poke(rig, topic):
    """A record that nobody counts to each partition: what is ready says so by committing it."""
    producer = Producer({"bootstrap.servers": rig.bootstrap})
    for partition in range(topic.partitions):
        producer.produce(topic.name, b"{", partition=partition)
    producer.flush()


def restore(rig, book, options):
    """A restart with the disk kept and lost; ids or entries a second, from the peer's own log; seconds stand where CPU else does"""
    n = options.events or 1_000_000
    for round_ in range(1, options.rounds + 1):
        for lost in (True, False):
            for peer in (peers.tidemill("w1"), peers.ks_expert()):
                if book.wants(peer):
                    topic = rig.fill(f"restore-{round_}-{lost}-{peer.name}", n, **EVENTS)
                    logical = topic.oracle["unique"] + sum(r["users"] for r in topic.oracle["rows"])
                    book.add("restore", round_, _again(rig, peer, topic, lost, logical))
                    rig.drop(topic)
            keys = 10**4 if options.brief else 10**6
            # All is said long before the stop: else the tasks that are ready first would say it beside the others' restores.
            peer = peers.tidemill("w4", keys=keys, updates="1s")
            if book.wants(peer):
                topic = rig.fill(f"restore-{round_}-{lost}-keys", 0, users=keys, **keyed.EVENTS)
                book.add("restore", round_, _again(rig, peer, topic, lost, None))
                rig.drop(topic)
