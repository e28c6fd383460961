#!/usr/bin/env bash
# Admin requests in all their versions, answered as an Apache Kafka 3.9.2 broker in ZooKeeper mode answered them, which is
# what admin_requests.apache holds: made by `BOOTSTRAP=host:port admin_requests.sh record` on one with broker.id=1, alone and empty.
#
# Not among the cases, for there we differ on purpose: a partition assigned to no broker is refused (Apache makes it, and it
# never gets a leader); a broker's setting that has no sense is INVALID_CONFIG, as a topic's is (INVALID_REQUEST); loggers that
# are not there, or may not be deleted, have an error that says so (UNKNOWN_SERVER_ERROR); DeleteTopics by name tells the id.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
jars=$("$here/maven" kafka-3.9.2 org.apache.kafka:kafka_2.13:3.9.2)
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
javac -nowarn -cp "$jars/*" -d "$classes" "$here/java/AdminRequests.java"
answers() { java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$classes:$jars/*" AdminRequests "$BOOTSTRAP" "$here/admin_requests.cases"; }
if [ "${1-}" = record ]; then
    answers > "$here/admin_requests.apache"
else
    answers > answers
    diff "$here/admin_requests.apache" answers
fi
