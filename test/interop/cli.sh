#!/usr/bin/env bash
# The command line on a running broker: topics, configs, records through pipes, groups, JSON, exit codes.
set -euo pipefail
export ODRADEK_BOOTSTRAP=$BOOTSTRAP
o() { "$BINARY" "$@"; }

o topic create orders -p 3 --retention 7d -o json | python3 -c 'import json,sys; r=json.load(sys.stdin); assert r["items"][0]["partitions"]==3 and not r["errors"], r'
o topic create orders 2>err && { echo "created twice"; exit 1; }
grep -q TOPIC_ALREADY_EXISTS err
o topic create orders --if-not-exists
o topic list -o name | grep -qx orders
o config get -t orders retention.ms -o tsv | grep -q 604800000
o config set -t orders retention.ms=3600000 >/dev/null
o config get -t orders retention.ms -o tsv | grep -q 3600000
o config unset -t orders retention.ms >/dev/null
o config get -t orders -o json | python3 -c 'import json,sys; assert not json.load(sys.stdin)["items"]'
o config set -t orders retention.ms=soon 2>err && exit 1
grep -qi 'retention.ms' err

seq 1 1000 | sed 's/.*/user&\tvalue &/' > in
o produce orders -K '\t' -H source=test < in
o consume orders -K '\t' | sort > out
sort in | cmp - out
o consume orders -o jsonl | o produce copy -i jsonl
[ "$(o consume copy | wc -l)" = 1000 ]
o consume copy -o jsonl -n 1 | python3 -c 'import json,sys; r=json.loads(sys.stdin.readline()); assert r["headers"][0][0]=="source" and r["key"]["text"].startswith("user"), r'
[ "$(o consume orders --from -2 | wc -l)" = 6 ]

o consume orders -g readers > out
[ "$(wc -l < out)" = 1000 ]
o group list -o name | grep -qx readers
o group lag readers -o json | python3 -c 'import json,sys; r=json.load(sys.stdin); assert sum(i["lag"] for i in r["items"])==0 and sum(i["committed"] for i in r["items"])==1000, r'
o group seek readers --to start -y >/dev/null
[ "$(o consume orders -g readers | wc -l)" = 1000 ]
o group delete readers -y >/dev/null
o topic grow orders -p 5 >/dev/null
[ "$(o topic describe orders -o tsv | wc -l)" = 5 ]
o cluster describe -o json >/dev/null

# What a cluster needs works on a cluster of one, too.
o cluster status --check | grep -q 'all is well'
o cluster status -o json | python3 -c 'import json,sys; i=json.load(sys.stdin)["items"]; assert len(i)==1 and i[0]["healthy"] and i[0]["brokers"][0]["leads"]==i[0]["partitions"], i'
id=$(o broker list -o name)
o topic create placed --assignment "$id,$id" >/dev/null
[ "$(o topic describe placed -o tsv | wc -l)" = 2 ]
o topic create bad --assignment "$id:$id" 2>err && exit 1
grep -q twice err
[ "$(o cluster balance -o json)" = '{"kind":"ClusterBalance","version":1,"items":[],"errors":[]}' ]
[ "$(o cluster elect -o tsv)" = "" ]
[ "$(o cluster reassignments -o tsv)" = "" ]
code=0; o broker drain "$id" --dry-run 2>err || code=$?
[ $code = 1 ] && grep -q 'only 0 brokers' err
o topic alter placed --partitions 3 >/dev/null
[ "$(o topic describe placed --trouble -o tsv)" = "" ]
o topic delete placed -y >/dev/null
o topic delete orders copy -y >/dev/null
o topic list -o name | grep -qx orders && exit 1

# A dead broker: within 2 s, exit 3, and why.
began=$(date +%s%N)
code=0
o topic list -b 127.0.0.1:1 2>err || code=$?
[ $code = 3 ] && grep -q refused err
[ $((($(date +%s%N) - began) / 1000000)) -lt 2000 ]
o topic --help | grep -q '^  topic reassign NAME '
o topic create --help | grep -qx 'usage: odradek topic create NAME...'
code=0; o topci 2>err || code=$?
[ $code = 2 ] && grep -q 'did you mean "topic"' err
