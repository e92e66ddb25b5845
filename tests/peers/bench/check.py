"""Is what a peer said what the generator knows? Pure functions over values, and one that reads a topic.
Called by trials. Invariant: an answer is a list of differences; only an empty one gives a row its figures."""
import datetime
import json
import zlib
from confluent_kafka import Consumer, TopicPartition

MASK = (1 << 64) - 1
TYPES = {"page_view", "click", "search", "purchase", "login", "logout"}


def plain(value):
    """(hour since 1970, type, count, users, sum) of a result, in the peers' shape or in Tidemill's."""
    if "window" not in value:
        return value["hour"], value["type"], value["count"], value["users"], float(value["sum"])
    start = datetime.datetime.fromisoformat(value["window"]["start"])
    return int(start.timestamp()) // 3600, value["event_type"], value["count"], value["users"], float(value["sum"])


def hourly(last, oracle):
    """Last values by key against the oracle's rows. Several keys of one (hour, type) are partials, which add up."""
    got = {}
    for value in last:
        hour, kind, count, users, total = plain(value)
        cell = got.setdefault((hour, kind), [0, 0, 0.0])
        cell[0] += count
        cell[1] += users
        cell[2] += total
    want = {(r["hour"], r["type"]): [r["count"], r["users"], float(r["sum"])] for r in oracle["rows"]}
    return differences(got, want)


def differences(got, want, keep=3):
    """Sentences, at most a few; sums may differ by the rounding of doubles."""
    found = [f"{k}: nobody asked for it: {got[k]}" for k in sorted(got.keys() - want.keys())]
    for key in sorted(want):
        have, due = got.get(key), want[key]
        if have is None:
            found.append(f"{key}: missing")
        elif not all(same(a, b) for a, b in zip(have, due, strict=True)):
            found.append(f"{key}: {have} where {due} is due")
    return found[:keep]


def held(rss, budget):
    """What a process held at its peak against what it was given, MiB."""
    return [f"it held {rss} MiB at its peak, {budget} MiB were given"] if budget and rss > budget else []


def same(a, b):
    if isinstance(b, float):
        return abs(a - b) <= 1e-9 * abs(b) + 1e-6
    return a == b


def hopping(last, oracle, every):
    """Finals of a window of an hour that hops by `every` seconds against sums over the oracle's seconds. What the last events
    closed in one partition and not in another may be there or not, but is right."""
    panes = {kind: {} for kind in oracle["types"]}
    for second, kind, count, cents in oracle["seconds"]:
        at = second // every * every
        cell = panes[oracle["types"][kind]].setdefault(at, [0, 0])
        cell[0] += count
        cell[1] += cents
    want, latest = {}, max(s[0] for s in oracle["seconds"])
    for kind, cells in panes.items():
        want.update(_slide(kind, cells, every))
    got = {}
    for value in last:
        start = int(datetime.datetime.fromisoformat(value["window"]["start"]).timestamp())
        got[start, value["event_type"]] = [value["count"], float(value["sum"])]
    closed = {k: v for k, v in want.items() if k[0] + 3600 + 600 <= latest - 60 or k in got}
    return differences(got, closed)


def _slide(kind, cells, every):
    """Every window that an event fell into, by its start."""
    if not cells:
        return {}
    first, last, count, cents, found = min(cells), max(cells), 0, 0, {}
    for at in range(first, last + 3600, every):            # `at` is the last pane of the window that starts at `start`
        start = at - 3600 + every
        new, old = cells.get(at, (0, 0)), cells.get(start - every, (0, 0))
        count, cents = count + new[0] - old[0], cents + new[1] - old[1]
        if count:
            found[start, kind] = [count, cents / 100]
    return found


def copies(records, oracle, at, due):
    """Enriched copies: as many as there are valid events, each id once (by checksum), each with what was to be added."""
    n = ids = high = 0
    for value in records:
        event = json.loads(value)
        n += 1
        ids = (ids + zlib.crc32(event["event_id"].encode())) & MASK
        high += bool(event[at])
    want = {"copies": [oracle["unique"]], "ids": [oracle["ids"]], at: [oracle[due]]}
    return differences({"copies": [n], "ids": [ids], at: [high]}, want)


def read(bootstrap, topic, partitions, seen):
    """Calls seen(partition, key, value) for every committed record of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic + "-check", "isolation.level": "read_committed",
                         "enable.auto.commit": False, "enable.partition.eof": True, "fetch.message.max.bytes": 4 << 20})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    ended = set()
    while len(ended) < partitions:
        batch = consumer.consume(10_000, 5)
        if not batch:
            raise SystemExit(f"{topic}: no answer from the broker for 5 s while its records were compared")
        for message in batch:
            if message.error():
                ended.add(message.partition())
            else:
                seen(message.partition(), message.key(), message.value())
    consumer.close()


def last_values(bootstrap, topic, partitions):
    rows = {}
    read(bootstrap, topic, partitions, lambda _, key, value: rows.__setitem__(key, value))
    return [json.loads(v) for v in rows.values()]


def recount(bootstrap, topic, partitions):
    """The hourly rows that a topic's events are due, worked out here: for topics that no oracle came with."""
    ids, cells = set(), {}

    def seen(_, __, value):
        try:
            e = json.loads(value)
            when = datetime.datetime.fromisoformat(e["timestamp"])
            if not e["user_id"] or e["event_type"] not in TYPES or e["duration_seconds"] < 0 or not e["event_id"] or e["event_id"] in ids:
                return
        except (ValueError, KeyError, TypeError):
            return
        ids.add(e["event_id"])
        cell = cells.setdefault((int(when.timestamp()) // 3600, e["event_type"]), [0, set(), 0.0])
        cell[0] += 1
        cell[1].add(e["user_id"])
        cell[2] += e["duration_seconds"]

    read(bootstrap, topic, partitions, seen)
    return {"rows": [{"hour": h, "type": t, "count": n, "users": len(u), "sum": s} for (h, t), (n, u, s) in cells.items()]}
