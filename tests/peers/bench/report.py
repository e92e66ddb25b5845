"""Rows to medians, ratios and a table. Pure. Called by `__main__` and by the pictures.
Invariant: one wrong round takes a peer's figures away, and a ratio is taken within a round, never between two."""
import statistics
from . import peers

# What tells one line of a table from another, in the order in which its label names them; all else in a row is a figure.
KEYS = ("workload", "peer", "lanes", "commit", "memory", "partitions", "keys", "every", "disk", "raw", "kind", "rows", "also")


def lines_of(rows):
    """Rows of one workload by what they measured, in the order in which they came."""
    found = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def key(row):
    return tuple((k, row[k]) for k in KEYS if k in row)



def label(of):
    named = dict(of)
    rest = [f"{k} {v}" for k, v in named.items() if k not in ("workload", "peer") and v != "agg"]
    return peers.TITLES.get(named["peer"], named["peer"]) + (f" ({', '.join(rest)})" if rest else "")


def median(rows, field):
    values = [r[field] for r in rows if r.get(field) is not None]
    return statistics.median(values) if values else None


def kafka_bytes(row):
    """Changelog and repartition, bytes of the broker's log per event."""
    found = row.get("bytes_per_event")
    return round(found["changelog"] + found["repartition"], 1) if found else None


def ratios(rows, base, field="us"):
    """Each round's figure over Tidemill's of the same round; the median of them."""
    own = {r["round"]: r[field] for r in base if r.get(field)}
    found = [r[field] / own[r["round"]] for r in rows if r.get(field) and r["round"] in own]
    return statistics.median(found) if found else None


def summary(rows):
    """A line for each thing measured, with medians; `wrong` instead of figures where a round was wrong."""
    lines, made = lines_of(rows), []
    base = next((r for what, r in lines.items() if dict(what)["peer"] == peers.TIDEMILL), [])
    base = base if all(r["correct"] for r in base) else []
    for what, found in lines.items():
        line = {"label": label(what), **dict(what), "rounds": len(found), "load": median(found, "load")}
        wrong = [w for r in found if not r["correct"] for w in r.get("wrong", ["?"])]
        if wrong:
            line["wrong"] = wrong[:3]
        else:
            named = {**found[0], **found[-1]}
            names = {name for name, v in named.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
            line.update({n: median(found, n) for n in names - {"round", "load"}})
            line["kafka_bytes"] = median([{"b": kafka_bytes(r)} for r in found], "b")
            line["ratio"] = ratios(found, base)
            if found[0].get("ms"):
                line["ms"] = {q: median([r["ms"] for r in found], q) for q in found[0]["ms"]}
        made.append(line)
    return made


def shown(value, digits=2):
    if value is None:
        return "-"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.{digits}f}"


def table(rows):
    """The table that people read."""
    lines = summary(rows)
    width = max(len(line["label"]) for line in lines) + 2
    text = [f"{'':<{width}}{'ev/s':>11}{'us':>9}{'app':>9}{'broker':>8}{'times':>8}{'MB':>7}{'B/ev':>7}{'load':>7}"]
    for line in lines:
        if "wrong" in line:
            text.append(f"{line['label']:<{width}}  NO FIGURE: {'; '.join(line['wrong'])}")
            continue
        figures = [(line.get("ev_s"), 11, 0), (line.get("us"), 9, 2), (line.get("app_us"), 9, 2), (line.get("broker_us"), 8, 2),
                   (line.get("ratio"), 8, 2), (line.get("rss_mb"), 7, 0), (line.get("kafka_bytes"), 7, 1), (line["load"], 7, 1)]
        more = {k: v for k, v in line.items() if k in EXTRA and v}
        text.append(f"{line['label']:<{width}}" + "".join(f"{shown(v, d):>{w}}" for v, w, d in figures))
        if more:
            text.append(f"{'':<{width}}  " + ", ".join(f"{k} {shown(v) if not isinstance(v, dict) else v}" for k, v in more.items()))
    return "\n".join(text)


EXTRA = ("ms", "cpu_percent", "rows_s", "restore_s", "records_s", "ready_s", "to_commit_s", "to_commit_max_s", "state_mb", "start_s",
         "binary_mb", "postgres_us", "restored")
