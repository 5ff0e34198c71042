#!/usr/bin/env bash
# Ends the Ghost that start.sh recorded, and nothing else: the start time tells it from a later process with its id.
set -euo pipefail
pidfile=${RAPPORT_SERVERS:-/var/tmp/rapport-servers}/ghost/ghost.pid
[ -f "$pidfile" ] && read -r pid born <"$pidfile" || exit 0
if [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$born" ]; then
  kill -TERM "$pid"
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep .1; done
  kill -KILL "$pid" 2>/dev/null || true
fi
rm -f "$pidfile"
