#!/usr/bin/env bash
# kafkajs.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
command -v npm >/dev/null || { echo "needs node and npm"; exit 77; }
dir=$ODRADEK_CACHE/node
[ -d "$dir/node_modules/kafkajs" ] || { mkdir -p "$dir" && (cd "$dir" && npm init -y >/dev/null && npm install --silent kafkajs@2.2.4 >/dev/null); }
NODE_PATH=$dir/node_modules node "$here/node/clients.js"
