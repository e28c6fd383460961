#!/usr/bin/env bash
# Admin requests in all their versions, answered as an Apache Kafka 3.9.2 broker in ZooKeeper mode answered them, which is
# what admin_requests.apache holds: made by `BOOTSTRAP=host:port admin_requests.sh record` on one with broker.id=1, alone and empty.
#
# Not among the cases, for there we differ on purpose: a partition assigned to no broker is refused (Apache makes it, and it
# never gets a leader); a broker's setting that has no sense is INVALID_CONFIG, as a topic's is (INVALID_REQUEST); loggers that
# are not there, or may not be deleted, have an error that says so (UNKNOWN_SERVER_ERROR); DeleteTopics by name tells the id.
#
# What only 4.x asks is told by admin_requests_4_3.expected, which is written by hand: Apache's 4.3.1 has no ZooKeeper mode.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
classes=$(mktemp -d)
trap 'rm -rf "$classes"' EXIT
# answers JARS CASES
answers() {
    rm -rf "$classes"/*
    javac -nowarn -Xlint:none -cp "$1/*" -d "$classes" "$here/java/AdminRequests.java" 2>&1 | grep -v '^Note:' >&2 || true
    java -Xmx256m -XX:TieredStopAtLevel=1 -cp "$classes:$1/*" AdminRequests "$BOOTSTRAP" "$here/$2"
}
old=$("$here/maven" kafka-3.9.2 org.apache.kafka:kafka_2.13:3.9.2)
if [ "${1-}" = record ]; then
    answers "$old" admin_requests.cases > "$here/admin_requests.apache"
    exit
fi
new=$("$here/maven" kafka-tools-4.3.1 org.apache.kafka:kafka_2.13:4.3.1 org.apache.kafka:kafka-tools:4.3.1)
answers "$new" admin_requests_4_3.cases > answers_4_3
diff "$here/admin_requests_4_3.expected" answers_4_3
answers "$old" admin_requests.cases > answers
diff "$here/admin_requests.apache" answers
