#!/usr/bin/env bash
# compression.type: whatever codec batches come in, they lie in the topic's; kcat and Kafka's own reader find every record.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
types="uncompressed gzip snappy lz4 zstd"
for type in $types; do
    "$BINARY" topic create "to-$type" -p 1 -c "compression.type=$type" -b "$BOOTSTRAP" >/dev/null
    : > want
    for codec in none gzip snappy lz4 zstd; do
        seq 1 2000 | sed "s/.*/key&:$codec some words that repeat, number &/" > in
        "$BINARY" produce "to-$type" -K : -z "$codec" -X enable.idempotence=true -H h=v -b "$BOOTSTRAP" -q < in
        sed 's/:/=/' in >> want
    done
    kcat -b "$BOOTSTRAP" -C -t "to-$type" -e -q -f '%k=%s\n' | cmp want -
done
# LogAppendTime and a level of its own; a change of the codec is effective at once.
"$BINARY" topic create levels -p 1 -c compression.type=gzip -c compression.gzip.level=9 \
    -c message.timestamp.type=LogAppendTime -b "$BOOTSTRAP" >/dev/null
seq 1 1000 | kcat -b "$BOOTSTRAP" -P -t levels -z lz4
"$BINARY" config set --topic levels compression.type=zstd compression.zstd.level=-5 -b "$BOOTSTRAP" >/dev/null
seq 1001 2000 | kcat -b "$BOOTSTRAP" -P -t levels
kcat -b "$BOOTSTRAP" -C -t levels -e -q | cmp <(seq 1 2000) -

kill -TERM "$BROKER_PID"
while kill -0 "$BROKER_PID" 2>/dev/null && [ "$(ps -o stat= -p "$BROKER_PID" | cut -c1)" != Z ]; do :; done
jars=$("$here/maven" kafka-tools-4.3.1 org.apache.kafka:kafka_2.13:4.3.1 org.apache.kafka:kafka-tools:4.3.1)
dump() { # dump PARTITION RECORDS CODECS: the batches lie in these codecs, and nothing is wrong with any record
    java -Xmx512m -cp "$jars/*" org.apache.kafka.tools.DumpLogSegments --deep-iteration --print-data-log \
        --files "$(ls "$WORK/data/$1"/*.log | paste -sd,)" > out 2>&1 || { tail -20 out; exit 1; }
    if grep -iE 'exception|mismatch|corrupt|isvalid: false|not found|out of order' out; then exit 1; fi
    [ "$(grep -c 'payload:' out)" = "$2" ]
    grep -o '^baseOffset.*' out | grep -oiE 'compresscodec: *[a-z0-9]+' | tr 'A-Z' 'a-z' | awk '{print $2}' | sort -u > codecs
    echo "$1: $(paste -sd' ' codecs)"
    [ "$(paste -sd' ' codecs)" = "$3" ]
}
for type in $types; do dump "to-$type-0" 10000 "${type/uncompressed/none}"; done
dump levels-0 2000 "gzip zstd"
echo ok
