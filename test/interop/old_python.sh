#!/usr/bin/env bash
# Debian 12's own Python clients, confluent-kafka 1.7.0 and kafka-python 2.0.2: years old, unpacked beside the system, not installed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
dir=$ODRADEK_CACHE/old-python
if [ ! -f "$dir/complete" ]; then
    command -v apt-get >/dev/null && [ -x /usr/bin/python3 ] || { echo "needs apt-get and Debian's python3"; exit 77; }
    mkdir -p "$dir/debs"
    (cd "$dir/debs" && apt-get download python3-confluent-kafka python3-kafka >/dev/null) || { echo "cannot download Debian packages"; exit 77; }
    for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
    touch "$dir/complete"
fi
PYTHONPATH=$dir/root/usr/lib/python3/dist-packages exec /usr/bin/python3 "$here/old_python_client.py"
