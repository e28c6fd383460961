#!/usr/bin/env bash
# What coord/ promises, through its wire door: at our keeper, and at Apache ZooKeeper 3.9 from Maven.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
contract=$(dirname "$BINARY")/test/tools/coord_contract
[ -x "$contract" ] || { echo "coord_contract.sh: $contract is not built" >&2; exit 77; }

echo "--- our keeper"
"$contract" wire "$KEEPER" "$WORK/ours"

jars=$("$here/maven" zookeeper-3.9.4 org.apache.zookeeper:zookeeper:3.9.4 io.dropwizard.metrics:metrics-core:4.1.12.1 org.xerial.snappy:snappy-java:1.1.10.5)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$WORK/zk"
printf 'tickTime=1000\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n' "$WORK/zk" "$port" > "$WORK/zoo.cfg"
java -Xmx256m -cp "$jars/*" org.apache.zookeeper.server.quorum.QuorumPeerMain "$WORK/zoo.cfg" > "$WORK/zk.log" 2>&1 &
zookeeper=$!
trap 'kill $zookeeper 2>/dev/null || true' EXIT
for _ in $(seq 120); do
    if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    kill -0 $zookeeper || { cat "$WORK/zk.log"; exit 1; }
    sleep 0.5
done
echo "--- Apache ZooKeeper 3.9.4"
"$contract" wire "127.0.0.1:$port" "$WORK/theirs"
