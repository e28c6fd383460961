#!/usr/bin/env bash
# Apache's DumpLogSegments (3.9.2 and 4.3.1) reads what we wrote, indexes and snapshots too, without a complaint.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
"$BINARY" topic create dump -p 1 -c segment.bytes=1048576 -c index.interval.bytes=1024 -b "$BOOTSTRAP" >/dev/null
for codec in none gzip snappy lz4 zstd; do
    seq 1 20000 | sed "s/.*/key&:$codec a value of some length, number &/" |
        "$BINARY" produce dump -K : -z "$codec" -X enable.idempotence=true -H h=v -b "$BOOTSTRAP" -q
done
kill -TERM "$BROKER_PID"
while kill -0 "$BROKER_PID" 2>/dev/null && [ "$(ps -o stat= -p "$BROKER_PID" | cut -c1)" != Z ]; do :; done
ls "$WORK"/data/dump-0
[ "$(ls "$WORK"/data/dump-0/*.log | wc -l)" -gt 1 ]
files=$(ls "$WORK"/data/dump-0/*.log | paste -sd,)
indexes=$(ls "$WORK"/data/dump-0/*.index "$WORK"/data/dump-0/*.timeindex | paste -sd,)
snapshots=$(ls "$WORK"/data/dump-0/*.snapshot | paste -sd,)
for version in 3.9.2 4.3.1; do
    if [ "$version" = 3.9.2 ]; then
        jars=$("$here/maven" kafka-3.9.2 org.apache.kafka:kafka_2.13:3.9.2)
        class=kafka.tools.DumpLogSegments
    else
        jars=$("$here/maven" kafka-tools-4.3.1 org.apache.kafka:kafka_2.13:4.3.1 org.apache.kafka:kafka-tools:4.3.1)
        class=org.apache.kafka.tools.DumpLogSegments
    fi
    dump() { java -Xmx512m -cp "$jars/*" $class "$@" > out 2>&1 || { tail -20 out; exit 1; }
        if grep -iE 'exception|mismatch|corrupt|isvalid: false|not found|out of order' out; then exit 1; fi; }
    dump --deep-iteration --print-data-log --files "$files"
    [ "$(grep -c 'payload:' out)" = 100000 ]
    dump --index-sanity-check --files "$indexes"
    dump --verify-index-only --files "$indexes"
    dump --files "$indexes"
    dump --files "$snapshots"
done
echo ok
