"""Commit, machine and versions: what stands beside every figure. Called by `__main__`. Invariant: what cannot be told is null."""
import os
import pathlib
import platform
import re
import subprocess
import confluent_kafka
from . import places


def _said(*command):
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=places.ROOT)
    except OSError:
        return None
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else None


def _first(path, pattern):
    found = re.search(pattern, pathlib.Path(path).read_text(), re.M)
    return found.group(1).strip() if found else None


def _jar(folder, name):
    found = sorted((places.BUILT / folder).glob(f"{name}-[0-9]*.jar"))
    return found[0].stem[len(name) + 1:] if found else None


def _quix():
    pip = places.BUILT / "quix" / "bin" / "pip"
    shown = _said(pip, "show", "quixstreams") if pip.exists() else None
    return re.search(r"^Version: (.*)$", shown, re.M).group(1) if shown else None


def facts():
    program, java = places.program(), _said("java", "-version")
    changed = _said("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _said("git", "rev-parse", "HEAD"), "changed": bool(changed) if changed is not None else None,
        "profile": program.parent.name, "tidemill": _said(program, "--version"), "binary_bytes": program.stat().st_size,
        "cpu": _first("/proc/cpuinfo", r"^model name\s*: (.*)$"), "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(), "java": java.splitlines()[0] if java else None, "python": platform.python_version(),
        "kafka": _jar("../kafka", "kafka_2.13"), "kafka_streams": _jar("streams", "kafka-streams"),
        "flink": _jar("flink", "flink-streaming-java"), "quix": _quix(), "confluent_kafka": confluent_kafka.__version__,
    }
