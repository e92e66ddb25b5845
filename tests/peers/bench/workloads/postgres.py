"""Rows into PostgreSQL: its CPU counts too."""
import dataclasses
import time
from .. import check, peers, processes
from ..trial import Failed, Trial
from .drains import EVENTS


def _written(trial):
    """Whether the sinks have read all that was committed to their topics."""
    reached = {(t, p): n for t, p, n in trial.sql("SELECT topic, partition, next_offset FROM tidemill_sink_offsets")}
    topics = [trial.out + "-hours"] + ([trial.out] if trial.peer.env["RAW"] == "true" else [])
    ends = trial.rig.ends([(t, p) for t in topics for p in range(trial.rig.partitions(t))])
    return all(end - reached.get(part, 0) <= 2 for part, end in ends.items() if end)


def _work(rig, peer, topic, raw):
    head = {"peer": peer.name, "raw": raw, "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            database, broker, began = processes.family_cpu(rig.postgres_pid), processes.cpu(rig.broker_pid), time.monotonic()
            trial.start()
            trial.watch(topic.n)
            if peer.name == peers.TIDEMILL:
                _wait(trial)
            took, app = time.monotonic() - began, processes.cpu(trial.child.pid)
            rss = processes.peak_rss_mb(trial.child.pid)
            time.sleep(3)                             # the last word of the hours
            used = {"app_us": app, "broker_us": processes.cpu(rig.broker_pid) - broker, "postgres_us": processes.family_cpu(rig.postgres_pid) - database}
            trial.stop()
            wrong = _wrong(trial, raw)
    except Failed as failure:
        wrong = [str(failure)]
    if wrong:
        return {**head, "correct": False, "wrong": wrong}
    row = {k: round(v / topic.n * 1e6, 2) for k, v in used.items()}
    rows = topic.oracle["unique"] if raw == "true" else len(topic.oracle["rows"])
    return {**head, "correct": True, **row, "us": round(sum(row.values()), 2), "wall_s": round(took, 2), "ev_s": round(topic.n / took),
            "rows_s": round(rows / took), "rss_mb": round(rss or 0)}


def _wait(trial):
    until = time.monotonic() + 120
    while not _written(trial):
        if time.monotonic() > until:
            raise Failed(f"the sinks are not through after 120 s: {trial.last_words()}")
        time.sleep(0.1)


def _wrong(trial, raw):
    trial.peer = dataclasses.replace(trial.peer, rows="postgres")
    wrong = check.hourly(trial.rows(), trial.topic.oracle)
    if raw == "true":
        rows, ids = trial.sql("SELECT count(*), count(DISTINCT event_id) FROM raw_events")[0]
        due = trial.topic.oracle["unique"]
        wrong += [] if rows == ids == due else [f"{rows} rows of {ids} events where {due} are due"]
    return wrong


def postgres(rig, book, options):
    """Each event as a row of PostgreSQL and the hours beside; then the hours alone"""
    rig.postgres()
    topic = rig.fill("rows", options.events or 600_000, **EVENTS)
    ours = [dataclasses.replace(peers.tidemill("postgres", raw=raw, dsn="{dsn}"), rows="postgres") for raw in ("true", "false")]
    runs = [(ours[0], "true"), (peers.python("rows"), "true"), (ours[1], "false"), (peers.python("none"), "false")]
    for round_ in range(1, options.rounds + 1):
        for peer, raw in runs:
            if book.wants(peer):
                book.add("postgres", round_, _work(rig, peer, topic, raw))
