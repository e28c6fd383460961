#!/usr/bin/env bash
# The main classes behind kafka-topics.sh and its kin of 4.3.1, as people use them.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
jars=$("$here/maven" kafka-4.3.1 org.apache.kafka:kafka_2.13:4.3.1)
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
tool org.apache.kafka.tools.ConfigCommand $B --alter --entity-type topics --entity-name tools --add-config retention.ms=200000 || tool kafka.admin.ConfigCommand $B --alter --entity-type topics --entity-name tools --add-config retention.ms=200000
{ tool org.apache.kafka.tools.ConfigCommand $B --describe --entity-type topics --entity-name tools || tool kafka.admin.ConfigCommand $B --describe --entity-type topics --entity-name tools; } | grep 'retention.ms=200000'
tool org.apache.kafka.tools.BrokerApiVersionsCommand $B | grep -q 'Produce(0)'
tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand $B --delete --group tools-group
tool org.apache.kafka.tools.TopicCommand $B --delete --topic tools
! tool org.apache.kafka.tools.TopicCommand $B --list | grep -x tools
