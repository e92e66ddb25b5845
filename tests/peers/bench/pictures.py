"""The README's pictures, from JSON lines, as SVG written by hand: bars and text need no library. Pure but for its command line:
`python -m bench.pictures FOLDER FILE.jsonl...`. Invariant: a bar is a median of correct rounds, as the table has it."""
import html
import json
import pathlib
import sys
from . import peers, report

BAR, GAP, LEFT, WIDTH, TOP = 20, 12, 410, 920, 44
OURS, THEIRS, SECOND, INK, FAINT = "#0f766e", "#94a3b8", "#cbd5e1", "#1e293b", "#64748b"


def text(x, y, words, **style):
    style = {"font-size": 13, "fill": INK, **style}
    return f'<text x="{x}" y="{y}" ' + " ".join(f'{k}="{v}"' for k, v in style.items()) + f">{html.escape(words)}</text>"


def bar(x, y, width, colour, height=BAR):
    return f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}"/>'


def page(title, below, parts, height):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="system-ui, sans-serif" role="img" aria-label="{html.escape(title)}">')
    back = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    words = [text(16, 26, title, **{"font-size": 16, "font-weight": 600}), text(16, height - 12, below, **{"font-size": 12, "fill": FAINT})]
    return "\n".join([head, back, *words, *parts, "</svg>", ""])


def cost(lines):
    """CPU per event as a multiple of Tidemill's, one bar a peer: the process dark, the broker light."""
    longest, parts = max(x["ratio"] for x in lines), []
    room = WIDTH - LEFT - 70
    for at, line in enumerate(lines):
        y = TOP + at * (BAR + GAP)
        whole = line["ratio"] / longest * room
        own = whole * (line["us"] - line["broker_us"]) / line["us"]
        parts += [text(LEFT - 10, y + 15, line["label"], **{"text-anchor": "end"}),
                  bar(LEFT, y, own, OURS if line["peer"] == peers.TIDEMILL else THEIRS),
                  bar(LEFT + own, y, whole - own, SECOND), text(LEFT + whole + 8, y + 15, f"{line['ratio']:.1f}")]
    return page("CPU per event, as a multiple of Tidemill's", "W1, medians; the broker's part is light. Everybody on one topic and one broker, in turn.",
                parts, TOP + len(lines) * (BAR + GAP) + 34)


def latency(lines):
    """p50 and p99 of each peer and commit interval."""
    longest, parts = max(x["ms"]["p99"] for x in lines), []
    room = WIDTH - LEFT - 110
    for at, line in enumerate(lines):
        y = TOP + at * (BAR + GAP)
        p50, p99 = line["ms"]["p50"] / longest * room, line["ms"]["p99"] / longest * room
        parts += [text(LEFT - 10, y + 15, line["label"], **{"text-anchor": "end"}), bar(LEFT, y, p99, SECOND),
                  bar(LEFT, y, p50, OURS if line["peer"] == peers.TIDEMILL else THEIRS),
                  text(LEFT + p99 + 8, y + 15, f"{line['ms']['p50']:.0f} / {line['ms']['p99']:.0f} ms")]
    return page("From event to committed result: p50 / p99", "5 000 events a second, open loop, from the moment each event was due; W1 but for the pass-through.", parts,
                TOP + len(lines) * (BAR + GAP) + 34)


def draw(folder, rows):
    """Those pictures that the rows are enough for; their names."""
    folder, made = pathlib.Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for name, workload, picture, needs in (("cost.svg", "w1", cost, "ratio"), ("latency.svg", "latency", latency, "ms")):
        lines = [x for x in report.summary([r for r in rows if r["workload"] == workload]) if x.get(needs)]
        if len(lines) > 1:
            (folder / name).write_text(picture(lines))
            made.append(str(folder / name))
    return made


if __name__ == "__main__":
    found = [json.loads(line) for file in sys.argv[2:] for line in pathlib.Path(file).read_text().splitlines()]
    print("\n".join(draw(sys.argv[1], [r for r in found if "workload" in r])))
