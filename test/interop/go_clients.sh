#!/usr/bin/env bash
# franz-go, sarama and kafka-go.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
command -v go >/dev/null || { echo "needs go"; exit 77; }
cp -r "$here/go" src && cd src
export GOFLAGS=-mod=mod GOCACHE=$ODRADEK_CACHE/go-build
[ -f "$ODRADEK_CACHE/go.sum" ] && cp "$ODRADEK_CACHE/go.sum" .
go mod tidy -e 2>/dev/null
go build -o clients .
cp go.sum "$ODRADEK_CACHE/go.sum"
./clients
