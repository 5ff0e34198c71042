#!/usr/bin/env bash
# Real Ghost (npm, SQLite) at http://127.0.0.1:2368, filled by seed.py. `start.sh fresh` throws its content away and seeds again.
# Needs Node 20, a C++ compiler and, for seed.py, a Python with the packages of rapport ($SEED_PYTHON); sends no mail, asks nobody for updates.
# State: $RAPPORT_SERVERS/ghost.
set -euo pipefail
VERSION=5.130.5   # the last that runs on Node 20
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=${RAPPORT_SERVERS:-/var/tmp/rapport-servers}/ghost
mkdir -p "$DIR/data" && cd "$DIR"
"$HERE/stop.sh"
! (exec 3<>/dev/tcp/127.0.0.1/2368) 2>/dev/null || { echo "port 2368 is already in use" >&2; exit 1; }
if [ ! -f installed ]; then
  rm -rf app package download && mkdir download
  (cd download && npm pack --silent "ghost@$VERSION" >/dev/null && tar xzf ./*.tgz -C ..)
  mv package app && cd app
  # npm heeds "overrides" and not yarn's "resolutions"; mock-knex is a test tool that would come from a git host.
  node -e '
    const fs = require("fs"), p = JSON.parse(fs.readFileSync("package.json"));
    delete p.devDependencies; delete p.nx;
    const {"@tryghost/i18n": _, ...pinned} = p.resolutions;
    p.overrides = {...pinned, "mock-knex": "0.4.13"};
    for (const name in pinned) if (p.dependencies[name]) p.dependencies[name] = pinned[name];
    fs.writeFileSync("package.json", JSON.stringify(p));'
  # SQLite's binding is compiled with the headers that came with Node: node-gyp would fetch others from the network.
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  if [ ! -f "$prefix/include/node/node.h" ]; then
    echo "Ghost needs the headers of Node.js to compile SQLite: $prefix/include/node/node.h is not there" >&2; exit 1
  fi
  {
    npm install --omit=dev --no-audit --no-fund --legacy-peer-deps --ignore-scripts
    npm_config_nodedir=$prefix npm_config_build_from_source=true npm rebuild sqlite3
  } >../npm.log 2>&1 || { tail -40 ../npm.log >&2; exit 1; }
  cd .. && touch installed
fi
[ "${1:-}" != fresh ] || rm -rf data content seeded truth.json keys.json
mkdir -p data
[ -d content ] || cp -r app/content content
cat >app/config.development.json <<JSON
{"url": "http://127.0.0.1:2368", "server": {"host": "127.0.0.1", "port": 2368},
 "database": {"client": "sqlite3", "connection": {"filename": "$DIR/data/ghost.db"}, "useNullAsDefault": true},
 "mail": {"transport": "stub", "from": "nobody@example.test"}, "paths": {"contentPath": "$DIR/content"},
 "privacy": {"useUpdateCheck": false, "useGravatar": false, "useRpcPing": false, "useStructuredData": false},
 "security": {"staffDeviceVerification": false},
 "logging": {"transports": ["stdout"], "level": "warn"}}
JSON
cd app
NODE_ENV=development setsid node index.js >../ghost.log 2>&1 </dev/null &
echo "$! $(sed 's/.*) //' "/proc/$!/stat" | cut -d' ' -f20)" >../ghost.pid
cd ..
for _ in $(seq 240); do
  curl -sf -o /dev/null http://127.0.0.1:2368/ghost/api/admin/site/ && break
  kill -0 "$(cut -d' ' -f1 ghost.pid)" 2>/dev/null || { tail -20 ghost.log >&2; exit 1; }
  sleep .5
done
curl -sf -o /dev/null http://127.0.0.1:2368/ghost/api/admin/site/
if [ ! -f seeded ]; then
  "${SEED_PYTHON:-python3}" "$HERE/seed.py" http://127.0.0.1:2368 "$DIR"
  touch seeded
fi
echo "http://127.0.0.1:2368"
