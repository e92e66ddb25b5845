#!/usr/bin/env bash
# Instructions that a task takes to process an event, and a sink to find its fields (rows), held against what they were: a change that makes it slower is seen on any machine,
# however busy. Counted by callgrind; the difference of two lengths, so that the start counts nothing.
#   engine.sh PROGRAM BASELINE            the example `engine-cost`; fails where a workload takes over 3 % more
#   engine.sh PROGRAM BASELINE --update   writes the baseline instead
set -euo pipefail
program=$1 baseline=$2 update=${3:-} n=2000 failed=0
command -v valgrind >/dev/null || { echo "cost: needs valgrind (apt-get install valgrind)" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
count() { # of a run: workload, events
  valgrind --tool=callgrind --callgrind-out-file="$out/$1-$2" --toggle-collect='tidemill_topology::task::Task::process' \
    --toggle-collect='engine_cost::read_rows' "$program" "$@" 2>&1 >/dev/null |
    sed -n 's/.*Collected : //p'
}
now() { # workload
  local short long
  short=$(count "$1" $n)
  long=$(count "$1" $((4 * n)))
  echo $(((long - short) / (3 * n)))
}
while read -r workload before; do
  after=$(now "$workload")
  awk -v w="$workload" -v b="$before" -v a="$after" 'BEGIN { printf "%-4s %d instructions an event, were %d (%+.1f %%)\n", w, a, b, (a - b) * 100 / b }'
  echo "$workload $after" >>"$out/new"
  if ((after * 100 > before * 103)); then failed=1; fi
done <"$baseline"
if [[ $update ]]; then cp "$out/new" "$baseline"; exit 0; fi
if ((failed)); then
  echo "cost: slower by more than 3 %; make it cheaper, or say in the commit why it is worth that, with 'make cost UPDATE=1'" >&2
  exit 1
fi
