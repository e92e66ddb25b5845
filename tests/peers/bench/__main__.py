"""`make bench`: runs workloads, prints their tables, writes JSON lines and pictures. Knows no workload by itself.
Exit code 1 if a row was wrong."""
import argparse
import datetime
import json
import pathlib
import sys
from . import machine, pictures, places, report
from .rig import Rig
from .workloads import WORKLOADS


def arguments():
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--workload", "-w", default="w1", help=f"names with commas between, or all: {' '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, help="records of an input, where a workload has no reason for its own")
    parser.add_argument("--heavy", action="store_true", help="Flink and Quix too")
    parser.add_argument("--brief", action="store_true", help="short runs that show whether all works; their figures are worth little")
    parser.add_argument("--only", help="names of peers, with commas between")
    parser.add_argument("--results", default=places.BUILT / "results", help="folder for JSON lines, pictures and the peers' logs")
    options = parser.parse_args()
    options.events = options.events or (40_000 if options.brief else None)
    return options


class Book:
    """Where rows go: a file of JSON lines, and the screen."""

    def __init__(self, folder, options):
        self.folder = pathlib.Path(folder) / datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        self.folder.mkdir(parents=True)
        self.file, self.options, self.rows = self.folder / "rows.jsonl", options, []
        self._write({"machine": machine.facts()})

    def _write(self, line):
        with self.file.open("a") as f:
            f.write(json.dumps(line) + "\n")

    def add(self, workload, round_, row):
        row = {"workload": workload, "round": round_, **row}
        self.rows.append(row)
        self._write(row)
        what = f"{row['us']:.2f}" if row["correct"] else "NO FIGURE: " + "; ".join(row["wrong"])
        print(f"  {workload} round {round_} {report.label(report.key(row))}: {what}", file=sys.stderr, flush=True)

    def wants(self, peer):
        return not self.options.only or peer.name in self.options.only.split(",")


def main():
    options = arguments()
    names = list(WORKLOADS) if options.workload == "all" else options.workload.lower().split(",")
    if unknown := [n for n in names if n not in WORKLOADS]:
        sys.exit(f"no workload {unknown}; there are: {' '.join(WORKLOADS)}")
    book = Book(options.results, options)
    for name in names:
        with Rig(book.folder / "logs") as rig:
            workload = WORKLOADS[name]
            print(f"{name}: {workload.__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
            workload(rig, book, options)
        print(f"\n{name}: {workload.__doc__.splitlines()[0]}\n" + report.table([r for r in book.rows if r["workload"] == name]), flush=True)
    made = pictures.draw(book.folder, book.rows)
    print("\n" + "\n".join([str(book.file), *made]))
    sys.exit(0 if all(r["correct"] for r in book.rows) else 1)


if __name__ == "__main__":
    main()
