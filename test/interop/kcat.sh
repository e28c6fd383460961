#!/usr/bin/env bash
# kcat (librdkafka): create by producing, consume, keys, headers, every codec, a group, offsets by time.
set -euo pipefail
seq 1 10000 > in
kcat -b "$BOOTSTRAP" -P -t plain < in
kcat -b "$BOOTSTRAP" -C -t plain -e -q > out
cmp in out

for codec in gzip snappy lz4 zstd; do
    seq 1 2000 | sed "s/^/$codec /" > in
    kcat -b "$BOOTSTRAP" -P -t "codec-$codec" -z "$codec" < in
    kcat -b "$BOOTSTRAP" -C -t "codec-$codec" -e -q > out
    cmp in out
done

printf 'k1:v1\nk2:v2\nk3:\n' | kcat -b "$BOOTSTRAP" -P -t keyed -K: -Z -H name=value
kcat -b "$BOOTSTRAP" -C -t keyed -e -q -f '%k=%s/%h\n' > out
printf 'k1=v1/name=value\nk2=v2/name=value\nk3=/name=value\n' | cmp - out

[ "$(kcat -b "$BOOTSTRAP" -C -t plain -o -5 -e -q | wc -l)" = 5 ]
[ "$(kcat -b "$BOOTSTRAP" -C -t plain -o 9990 -c 3 -q | head -1)" = 9991 ]
kcat -b "$BOOTSTRAP" -Q -t plain:0:-1 | grep -q 'offset 10000'
kcat -b "$BOOTSTRAP" -L -J | python3 -c 'import json,sys; m=json.load(sys.stdin); assert len(m["brokers"])==1, m; assert {t["topic"] for t in m["topics"]} >= {"plain","keyed"}'

seq 1 500 | kcat -b "$BOOTSTRAP" -P -t grouped
timeout 40 kcat -b "$BOOTSTRAP" -G readers -X auto.offset.reset=earliest -c 500 -q grouped > out 2>err || { cat err; exit 1; }
seq 1 500 | cmp - out
echo acks0 | kcat -b "$BOOTSTRAP" -P -t zero -X acks=0
echo acks1 | kcat -b "$BOOTSTRAP" -P -t zero -X acks=1
[ "$(kcat -b "$BOOTSTRAP" -C -t zero -e -q | wc -l)" = 2 ]
