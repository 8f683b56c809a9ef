#!/usr/bin/env bash
# Runs one Kafka broker, which is its own controller too, without containers and small (about 290 MB): for tests and for
# `make cluster`. The process that is started becomes the broker, so its process id is the broker's; a second start on
# the same folder finds its data again.
#
#   scripts/kafka.sh FOLDER ID PORT CONTROLLER_PORT VOTERS [KEY=VALUE …]
#
# VOTERS are all brokers as ID@127.0.0.1:CONTROLLER_PORT, comma separated; KEY=VALUE are settings of the broker on top of
# those below. Everything listens on 127.0.0.1.
set -euo pipefail

[ $# -ge 5 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$1 id=$2 port=$3 controller_port=$4 voters=$5
shift 5
libs=$("$(dirname "$0")/servers.sh" --where kafka)

# As many copies, and copies that have to have a record, as brokers allow: one of one, two of three.
brokers=$(tr ',' '\n' <<<"$voters" | wc -l)
copies=$((brokers < 3 ? brokers : 3))
in_sync=$(((copies + 1) / 2))

mkdir -p "$folder"
{
  cat <<SETTINGS
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs=$folder/data
auto.create.topics.enable=false
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$copies
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=6000
log.cleaner.dedupe.buffer.size=16777216
background.threads=2
num.network.threads=2
num.io.threads=4
num.replica.fetchers=1
SETTINGS
  # The last one of a key counts.
  for setting in "$@"; do echo "$setting"; done
} >"$folder/server.properties"

run=(java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -cp "$libs/*")
if [ ! -e "$folder/data/meta.properties" ]; then
  # One id for all brokers of a cluster, whatever folder they live in.
  "${run[@]}" kafka.tools.StorageTool format --ignore-formatted -t AAAAAAAAAAAAAAAAAAAAAA \
    -c "$folder/server.properties" >"$folder/format.log" 2>&1 || { cat "$folder/format.log" >&2; exit 1; }
fi
exec "${run[@]}" kafka.Kafka "$folder/server.properties" >>"$folder/broker.log" 2>&1
