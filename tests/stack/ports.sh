# shellcheck shell=bash
# Sourced by kafka-cluster and postgres: ports on loopback that nobody listens on and no other cluster of ours holds.
# A reservation is a file named by the port that holds its owner's directory. It is void once that directory is gone.
PORT_BOOK=${TMPDIR:-/tmp}/tidemill-ports

# The range lies below the kernel's ephemeral one (32768), so an outgoing connection cannot take a port while its node is down.
free_port() { # OWNER_DIR -> prints a port
  local port holder
  mkdir -p "$PORT_BOOK"
  while :; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    if holder=$(cat "$PORT_BOOK/$port" 2>/dev/null); then
      [[ -d $holder ]] && continue
      rm -f "$PORT_BOOK/$port"
    fi
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
    (set -C && echo "$1" >"$PORT_BOOK/$port") 2>/dev/null && echo "$port" && return
  done
}

release_ports() { # OWNER_DIR
  local file
  for file in "$PORT_BOOK"/*; do
    if [[ -f $file && $(cat "$file") == "$1" ]]; then rm -f "$file"; fi
  done
}
