#!/usr/bin/env bash
# Instructions an event, with tracing off, on at 1 %, and on at 100 %; callgrind counts them, so a busy machine changes nothing.
#   traces.sh PROGRAM [w1|hourly]...     the example `trace-cost`; fails where 1 % costs 2 % or more
set -euo pipefail
program=$1 n=${N:-8000}
shift
(($#)) || set -- w1 hourly
command -v valgrind >/dev/null || { echo "trace-cost: needs valgrind (apt-get install valgrind)" >&2; exit 1; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
count() { # of a run: topology, records, sampled
  valgrind --tool=callgrind --callgrind-out-file="$out/o" "$program" "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}
each() { # of an event: the difference of two lengths
  local short long
  short=$(count "$1" "$n" "$2")
  long=$(count "$1" $((3 * n)) "$2")
  echo $(((long - short) / (2 * n)))
}
# A receiver that takes everything: refused spans would be encoded again with every attempt. Not by the clock, which runs on
# while callgrind counts.
python3 -u -c '
import http.server
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.send_header("Content-Type", "application/x-protobuf"); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port); server.serve_forever()' >"$out/port" &
trap 'kill %1; rm -rf "$out"' EXIT
until [ -s "$out/port" ]; do sleep 0.1; done
receiver=http://127.0.0.1:$(<"$out/port")
export OTEL_BSP_SCHEDULE_DELAY=3600000
export OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_TRACES_SAMPLER=parentbased_always_off
# What it takes to make the records is the test's own.
made=$(OTEL_EXPORTER_OTLP_ENDPOINT='' each none 100)
for topology in "$@"; do
  off=$(OTEL_EXPORTER_OTLP_ENDPOINT='' each "$topology" 100)
  one=$(OTEL_EXPORTER_OTLP_ENDPOINT=$receiver each "$topology" 100)
  all=$(OTEL_EXPORTER_OTLP_ENDPOINT=$receiver each "$topology" 10000)
  awk -v t="$topology" -v off=$((off - made)) -v one=$((one - made)) -v all=$((all - made)) 'BEGIN {
    printf "%-8s off %d instructions an event, at 1 %% %d (%+.2f %%), at 100 %% %d (%+.1f %%)\n", t, off, one, (one - off) * 100 / off, all, (all - off) * 100 / off
    exit (one - off) * 100 / off < 2 ? 0 : 1 }' || dear=1
done
exit "${dear:-0}"
