#!/usr/bin/env bash
# The main classes behind kafka-topics.sh and its kin of 4.3.1, as people use them.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
jars=$("$here/maven" kafka-tools-4.3.1 org.apache.kafka:kafka_2.13:4.3.1 org.apache.kafka:kafka-tools:4.3.1)
tool() { local class=$1; shift; java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$jars/*" "$class" "$@" 2>err || { cat err; return 1; }; }
B="--bootstrap-server $BOOTSTRAP"

tool org.apache.kafka.tools.TopicCommand $B --create --topic tools --partitions 3 --replication-factor 1 --config retention.ms=100000 | grep 'Created topic tools'
tool org.apache.kafka.tools.TopicCommand $B --list | grep -x tools
tool org.apache.kafka.tools.TopicCommand $B --describe --topic tools | tee out
grep -q 'PartitionCount: 3' out && grep -q 'retention.ms=100000' out
tool org.apache.kafka.tools.TopicCommand $B --alter --topic tools --partitions 5
seq 1 1000 | sed 's/.*/k&:v&/' | tool org.apache.kafka.tools.ConsoleProducer $B --topic tools --property parse.key=true --property key.separator=:
tool org.apache.kafka.tools.consumer.ConsoleConsumer $B --topic tools --from-beginning --max-messages 1000 --timeout-ms 20000 --group tools-group | sort > got
seq 1 1000 | sed 's/.*/v&/' | sort | cmp - got
tool org.apache.kafka.tools.GetOffsetShell $B --topic tools | awk -F: '{ n += $3 } END { exit n != 1000 }'
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand $B --list | grep -x tools-group
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand $B --describe --group tools-group | tee out
grep -q tools out
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand $B --group tools-group --topic tools --reset-offsets --to-earliest --execute | grep -q NEW-OFFSET
config() { tool kafka.admin.ConfigCommand $B "$@"; }
config --alter --entity-type topics --entity-name tools --add-config retention.ms=200000,cleanup.policy=[compact,delete]
config --describe --entity-type topics --entity-name tools | tee out
grep -q 'retention.ms=200000' out && grep -q 'cleanup.policy=compact,delete' out
config --alter --entity-type topics --entity-name tools --delete-config cleanup.policy
config --describe --entity-type topics --entity-name tools | grep cleanup.policy && exit 1
config --describe --all --entity-type topics --entity-name tools | grep 'cleanup.policy=delete'
id=$(config --describe --all --entity-type brokers | sed -n 's/^All configs for broker \([0-9]*\) are:/\1/p')
config --alter --entity-type brokers --entity-default --add-config message.max.bytes=2000000
config --describe --entity-type brokers --entity-default | grep 'message.max.bytes=2000000'
config --describe --all --entity-type topics --entity-name tools | grep 'max.message.bytes=2000000'
config --alter --entity-type brokers --entity-name "$id" --add-config message.max.bytes=3000000
config --describe --entity-type brokers --entity-name "$id" | grep 'message.max.bytes=3000000'
config --alter --entity-type brokers --entity-name "$id" --delete-config message.max.bytes
config --alter --entity-type brokers --entity-default --delete-config message.max.bytes
config --describe --all --entity-type topics --entity-name tools | grep 'max.message.bytes=1048588'
config --alter --entity-type brokers --entity-name "$id" --add-config log.dirs=/elsewhere && exit 1
config --describe --entity-type broker-loggers --entity-name "$id" | grep 'root=INFO'
tool org.apache.kafka.tools.LogDirsCommand $B --describe --topic-list tools | grep -o '"partition":"tools-[0-9]"' | sort -u | wc -l | grep -x 5
echo '{"partitions":[{"topic":"tools","partition":0,"offset":-1},{"topic":"tools","partition":1,"offset":10}],"version":1}' > records.json
tool org.apache.kafka.tools.DeleteRecordsCommand $B --offset-json-file records.json | tee out
grep -q 'partition: tools-1.*low_watermark: 10' out
tool org.apache.kafka.tools.GetOffsetShell $B --topic tools --time earliest | grep -x 'tools:1:10'
tool org.apache.kafka.tools.LeaderElectionCommand $B --election-type preferred --all-topic-partitions
tool org.apache.kafka.tools.reassign.ReassignPartitionsCommand $B --list | grep 'No partition reassignments found'
tool org.apache.kafka.tools.BrokerApiVersionsCommand $B | grep -q 'Produce(0)'
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand $B --delete --group tools-group
tool org.apache.kafka.tools.TopicCommand $B --delete --topic tools
! tool org.apache.kafka.tools.TopicCommand $B --list | grep -x tools
