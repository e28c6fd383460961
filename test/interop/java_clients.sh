#!/usr/bin/env bash
# java_clients.sh VERSION: Apache's Java clients of that release.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
version=$1
jars=$("$here/maven" "kafka-clients-$version" "org.apache.kafka:kafka-clients:$version")
mkdir -p classes
javac -nowarn -cp "$jars/*" -d classes "$here/java/Clients.java"
java -Xmx256m -cp "classes:$jars/*" Clients "$BOOTSTRAP"
