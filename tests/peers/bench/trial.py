"""One peer on one topic, from its start until all is committed; and pieces of it for workloads that are no race.
Called by the workloads. Invariant: a row whose output differs from the oracle, or that ended early, has no figure."""
import contextlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import time
from confluent_kafka import ConsumerGroupTopicPartitions
from . import check, processes

LIMIT = 300          # seconds until a peer is given up
GRAIN = 0.05         # seconds between two looks at the group's offsets


class Failed(Exception):
    """A trial that cannot have figures; the text says why."""


class Trial:
    """A peer with names, directories and topics of its own."""

    def __init__(self, rig, peer, topic):
        self.rig, self.peer, self.topic = rig, peer, topic
        self.group = f"{peer.name}-{int(time.time() * 1000)}"
        self.out, self.state = self.group + "-out", rig.scratch / "state" / self.group
        self.log = rig.logs / f"{peer.name}.log"
        self.values = {"group": self.group, "out": self.out, "state": self.state, "topic": topic.name, "bootstrap": rig.bootstrap,
                       "dsn": rig.postgres() if peer.rows == "postgres" else ""}
        self.child, self.samples = None, []
        self.env = {**os.environ, **{k: v.format(**self.values) for k, v in peer.env.items()}}

    def __enter__(self):
        self.state.mkdir(parents=True)
        if self.peer.rows == "postgres":
            self.sql("DROP TABLE IF EXISTS raw_events, hourly_aggregations, tidemill_sink_offsets, pipeline_metrics")
        if self.peer.rows != "none":
            self.rig.create(self.out, self.topic.partitions)
        if self.peer.extra:
            self.rig.create(self.peer.extra.format(**self.values), self.topic.partitions)
        if self.peer.before:
            self._run(self.peer.before)
        self.bytes_before = self._bytes()
        return self

    def __exit__(self, *_):
        self.kill()
        mine = [t for t in self.rig.admin.list_topics(timeout=10).topics if self.group in t]
        if mine:
            self.rig.delete(mine)
        shutil.rmtree(self.state, ignore_errors=True)

    def _run(self, command):
        command = [c.format(**self.values) for c in command]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def sql(self, text, *values):
        import psycopg2  # only those that write rows need it
        with contextlib.closing(psycopg2.connect(self.rig.dsn)) as db, db, db.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall() if cursor.description else None

    # --- the process ---------------------------------------------------------------------------------------------

    def start(self):
        command = [c.format(**self.values) for c in self.peer.command]
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        return self.child

    def kill(self):
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def stop(self):
        """In order; a peer that does not listen for 30 s is killed."""
        self.child.terminate()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    # --- what it has done ----------------------------------------------------------------------------------------

    def committed(self):
        """Offsets of the peer's group, by (topic, partition)."""
        try:
            asked = self.rig.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.group)])
            found = asked[self.group].result().topic_partitions
            return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}
        except Exception:  # no such group yet, or its coordinator is loading
            return {}

    def read(self, offsets=None):
        """Input records that are committed."""
        offsets = self.committed() if offsets is None else offsets
        return sum(o for (t, _), o in offsets.items() if t == self.topic.name)

    def drained(self, total):
        """Whether all of the input is committed, and of the topics between its stages."""
        offsets = self.committed()
        done = self.read(offsets)
        if done < total:
            return done, False
        topics = self.rig.admin.list_topics(timeout=10).topics.values()
        between = [(t.topic, p) for t in topics if self.between(t.topic) for p in t.partitions]
        ends = self.rig.ends(between) if between else {}
        return done, all(end - offsets.get(part, 0) <= 2 for part, end in ends.items())  # each may end with a transaction's markers

    def between(self, name):
        """Whether a topic, or its folder, lies between two of the peer's stages; Quix names changelogs after those too."""
        return self.group in name and "repartition" in name and "changelog" not in name

    def watch(self, total, limit=LIMIT):
        """Samples until the input is drained; the seconds that it took."""
        began = time.monotonic()
        while True:
            done, over = self.drained(total)
            now = time.monotonic() - began
            self.look(now, done)
            if over:
                return now
            if self.child.poll() is not None:
                raise Failed(f"{self.peer.name} ended early with {self.child.returncode}: {self.last_words()}")
            if now > limit:
                raise Failed(f"{self.peer.name}: {done} of {total} records after {limit} s: {self.last_words()}")
            time.sleep(GRAIN)

    def quiet(self, seconds=2, limit=120):
        """Waits until the output has not grown for so long: windows that the last input closed speak a slice a transaction."""
        parts = [(self.out, p) for p in range(self.topic.partitions)]
        was, since, began = None, time.monotonic(), time.monotonic()
        while time.monotonic() - since < seconds:
            ends = self.rig.ends(parts)
            if ends != was:
                was, since = ends, time.monotonic()
                self.look(since - began + self.samples[-1][0])
            if since - began > limit:
                raise Failed(f"{self.peer.name} still speaks {limit} s after its input was drained")
            time.sleep(GRAIN)
        return self.samples[-1][0]

    def look(self, now, done=None):
        """One sample: (seconds, records, CPU of the peer, of the broker, of PostgreSQL)."""
        database = processes.family_cpu(self.rig.postgres_pid) if self.peer.rows == "postgres" else 0.0
        done = self.samples[-1][1] if done is None else done
        self.samples.append((now, done, processes.cpu(self.child.pid), processes.cpu(self.rig.broker_pid), database))

    def last_words(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1][:300] if lines else "it said nothing"

    def commits(self):
        """Transactions that the peer says it committed; only Tidemill does say so, as it stops."""
        for line in reversed(self.log.read_text(errors="replace").splitlines()):
            if '"message":"stopped"' in line:
                return json.loads(line).get("committed")
        return None

    def _bytes(self):
        kinds = {"changelog": lambda d: self.group in d and "changelog" in d,
                 "repartition": self.between,
                 "output": lambda d: d.startswith(self.out)}
        return {kind: self.rig.log_bytes(match) for kind, match in kinds.items()}

    def bytes_per_event(self, n):
        now = self._bytes()
        return {kind: round((now[kind] - was) / n, 1) for kind, was in self.bytes_before.items()}

    # --- what it said --------------------------------------------------------------------------------------------

    def rows(self):
        """The last value of each key, of the output topic or of the table."""
        if self.peer.rows == "topic":
            return check.last_values(self.rig.bootstrap, self.out, self.topic.partitions)
        rows = self.sql("SELECT extract(epoch FROM aggregation_hour)::bigint / 3600, event_type, total_events, unique_users, "
                        "total_duration_seconds FROM hourly_aggregations")
        return [dict(zip(("hour", "type", "count", "users", "sum"), row)) for row in rows]


def slope(samples, column, share):
    """CPU microseconds per event from `share` of the input to its end: the slope of the line nearest to all samples, since what
    is worked on and not yet committed would shift a mere difference of two samples."""
    first, last = samples[0][1], samples[-1][1]
    part = [(s[1], s[column]) for s in samples if s[1] >= first + share * (last - first) and s[column] is not None]
    part = part[:next((i for i, s in enumerate(part) if s[0] >= last), len(part)) + 1]
    if len(part) < 2 or part[-1][0] == part[0][0]:
        return None
    n = len(part)
    x0, y0 = sum(x for x, _ in part) / n, sum(y for _, y in part) / n
    return sum((x - x0) * (y - y0) for x, y in part) / sum((x - x0) ** 2 for x, _ in part) * 1e6


def figures(trial, total, wall, share=0.5):
    """What a drained trial cost, warm (`share` of the input is behind it) and whole, with its start. No share: whole alone."""
    samples, n = trial.samples, total
    row = {"n": n, "wall_s": round(wall, 2), "ev_s": round(n / wall)}
    for name, column in (("app", 2), ("broker", 3), ("postgres", 4)):
        whole = (samples[-1][column] - (samples[0][column] if column > 2 else 0)) / n * 1e6
        warm = None if share is None else slope(samples, column, share)
        row[name + "_us"], row[name + "_whole_us"] = round(whole if warm is None else warm, 3), round(whole, 3)
    base = next(s for s in samples if s[1] >= (share or 0) * n)
    if samples[-1][0] > base[0]:
        row["warm_ev_s"] = round((n - base[1]) / (samples[-1][0] - base[0]))
    row["us"] = round(row["app_us"] + row["broker_us"] + row["postgres_us"], 3)
    return row


def race(rig, peer, topic, compare, share=0.5):
    """A peer works a whole topic. `compare(trial)` answers with what differs. No share: until it is quiet, and all of it counts."""
    head = {"peer": peer.name, **peer.note, "load": processes.load()}
    try:
        with Trial(rig, peer, topic) as trial:
            trial.start()
            wall = trial.watch(topic.n)
            wall = wall if share is not None else trial.quiet()
            row = figures(trial, topic.n, wall, share)
            row["rss_mb"] = trial.rss_mb = round(processes.peak_rss_mb(trial.child.pid) or 0)
            time.sleep(peer.settle)
            trial.stop()
            if commits := trial.commits():
                row["commit_had_ms"] = round(wall / commits * 1000)   # what was asked for is not always what was had
            row["bytes_per_event"] = trial.bytes_per_event(topic.n) if peer.rows == "topic" else None
            wrong = compare(trial)
    except Failed as failure:
        return {**head, "correct": False, "wrong": [str(failure)]}
    return {**head, "correct": False, "wrong": wrong} if wrong else {**head, "correct": True, **row}


def to_its_end(rig, peer, topic):
    """A peer that reads a topic and ends by itself: the floor. It prints how many events it saw."""
    head = {"peer": peer.name, "load": processes.load()}
    values = {"bootstrap": rig.bootstrap, "topic": topic.name}
    before, broker = resource.getrusage(resource.RUSAGE_CHILDREN), processes.cpu(rig.broker_pid)
    began = time.monotonic()
    done = subprocess.run([c.format(**values) for c in peer.command], capture_output=True, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or json.loads(done.stdout)["events"] != topic.n:
        return {**head, "correct": False, "wrong": [f"{done.stdout} {done.stderr}".strip()]}
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    app, other = used / topic.n * 1e6, (processes.cpu(rig.broker_pid) - broker) / topic.n * 1e6
    seconds = json.loads(done.stdout)["seconds"]
    return {**head, "correct": True, "n": topic.n, "wall_s": round(wall, 2), "ev_s": round(topic.n / seconds), "app_us": round(app, 3),
            "broker_us": round(other, 3), "us": round(app + other, 3), "rss_mb": None}


def bytes_below(folder):
    """Bytes of a directory: the state that a peer keeps on disk."""
    return sum(f.stat().st_size for f in pathlib.Path(folder).rglob("*") if f.is_file())
