"""Where things lie. Called by every other file. Invariant: nothing is written inside the checkout but what `--pictures` names."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
PEERS = ROOT / "tests" / "peers"
STACK = ROOT / "tests" / "stack"
CACHE = pathlib.Path(os.environ.get("TIDEMILL_CACHE") or pathlib.Path.home() / ".cache" / "tidemill")
BUILT = CACHE / "peers"                      # jars, classes, virtual environments: what tests/peers/setup makes
TOPOLOGIES = PEERS / "topologies"


def program():
    """The program under test: $TIDEMILL_PROGRAM, else what `make fast` built."""
    given = os.environ.get("TIDEMILL_PROGRAM")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
    found = pathlib.Path(given) if given else target / "fast" / "tidemill"
    if not found.exists():
        raise SystemExit(f"{found} does not exist: run 'make fast', or set TIDEMILL_PROGRAM")
    return found
