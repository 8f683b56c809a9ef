#!/usr/bin/env bash
# Measures a cluster on this machine: three nodes and one broker (scripts/cluster.sh, in a folder of its own), beside Kafka's
# own producer benchmark on the same broker. docs/performance.md has the figures. Needs release builds of both programs.
#
#   scripts/bench-cluster.sh [producer|throughput|latency|cpu|drain|death …]   all of them by default
set -euo pipefail
cd "$(dirname "$0")/.."

target=${TARGET:-${CARGO_TARGET_DIR:-target}}
export CLUSTER_DIR=${CLUSTER_DIR:-$target/bench-cluster}
export CLUSTER_BROKERS=${CLUSTER_BROKERS:-1} CLUSTER_SETTINGS=$PWD/benches/load/cluster.toml
# A broker as one runs it, with the whole compiler.
export CLUSTER_BROKER_JAVA=${CLUSTER_BROKER_JAVA:--Xms512m -Xmx512m -XX:+UseSerialGC}
SECONDS_EACH=${SECONDS_EACH:-15}
WARM_UP=${WARM_UP:-30}
# An envelope of a message of 200 bytes, as it stands on the bus.
RECORD_BYTES=${RECORD_BYTES:-520}
status=0

# Anew, because nodes come and go.
where() {
  # shellcheck disable=SC1091
  source "$CLUSTER_DIR/env"
  local n url pid
  urls='' pids=''
  for n in $(seq "${CLUSTER_NODES:-3}"); do
    url=NODE_${n}_URL pid=NODE_${n}_PID
    urls+=${urls:+,}${!url} pids+=${pids:+,}${!pid}
  done
}

bench() {
  echo
  echo "== parlor-bench $*"
  "$target/release/parlor-bench" "$@" 2>>"$CLUSTER_DIR/bench.log" || { status=1; tail -n 3 "$CLUSTER_DIR/bench.log"; }
}

producer() {
  local jars topic=bench.producer
  jars=$(scripts/servers.sh --where kafka)
  java -cp "$jars/*" org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BROKERS" --create --if-not-exists \
    --topic $topic --partitions 12 >/dev/null 2>&1
  echo
  echo "== Kafka's producer: $RECORD_BYTES bytes, acks=all, batched (linger 5 ms)"
  java -Xmx256m -cp "$jars/*" org.apache.kafka.tools.ProducerPerformance --topic $topic --num-records 500000 \
    --record-size "$RECORD_BYTES" --throughput -1 \
    --producer-props "bootstrap.servers=$KAFKA_BROKERS" acks=all linger.ms=5 batch.size=131072 2>/dev/null | tail -n 1
}

# Seconds of processor that a process and its children have taken.
taken() {
  local pid
  for pid in "$1" $(pgrep -P "$1"); do cat "/proc/$pid/stat" 2>/dev/null; done |
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); sum += $12 + $13 } END { printf "%.2f", sum / hz }'
}

# A run, and what the servers beside the nodes take for it (its warm-up included), for sizing.
bench_parts() {
  local part
  declare -A before
  for part in BROKER_1_PID POSTGRES_PID REDIS_PID; do before[$part]=$(taken "${!part}"); done
  bench "$@"
  for part in BROKER_1_PID POSTGRES_PID REDIS_PID; do
    echo "$part: $(awk "BEGIN { print $(taken "${!part}") - ${before[$part]} }") s of processor"
  done
}

throughput() {
  bench_parts --url "$urls" --server-pid "$pids" pairs --in-flight 32 --seconds "$SECONDS_EACH"
  "$(scripts/servers.sh --where postgres)/psql" "$DATABASE_URL" -qc ANALYZE -c "SELECT relname, reltuples::bigint AS rows,
    pg_size_pretty(pg_total_relation_size(oid)) AS size FROM pg_class
    WHERE relname IN ('messages', 'inbox', 'conversations', 'conversation_members') ORDER BY relname" || true
}

# Not measured before the broker has run for a while: the first minute of a JVM is its compiler's.
latency() {
  bench_parts --url "$urls" --server-pid "$pids" pairs --rate 500 --warm-up "$WARM_UP" --seconds "$SECONDS_EACH"
}

# The same load on three nodes and on one of them, alone, over the same Kafka, Postgres and Redis.
cpu() {
  bench --url "$urls" --server-pid "$pids" pairs --seconds "$SECONDS_EACH"
  bench --url "$urls" --server-pid "$pids" pairs --rate 1000 --seconds "$SECONDS_EACH"
  scripts/cluster.sh node 2 stop
  scripts/cluster.sh node 3 stop
  where
  sleep 10
  bench --url "$NODE_1_URL" --server-pid "$NODE_1_PID" pairs --seconds "$SECONDS_EACH"
  bench --url "$NODE_1_URL" --server-pid "$NODE_1_PID" pairs --rate 1000 --seconds "$SECONDS_EACH"
  scripts/cluster.sh node 2 start
  scripts/cluster.sh node 3 start
  where
}

drain() {
  bench --url "$urls" --server-pid "$NODE_1_PID" drain --connections 5000 --accounts 250 --rate 250
  scripts/cluster.sh node 1 start
  where
}

death() {
  bench --url "$urls" --server-pid "$NODE_1_PID" death --rate 1000
  scripts/cluster.sh node 1 start
  where
}

scripts/cluster.sh up
where
trap 'scripts/cluster.sh down' EXIT
[ $# -gt 0 ] || set -- producer throughput producer latency cpu drain death
for part in "$@"; do
  case "$part" in producer | throughput | latency | cpu | drain | death) "$part" ;; *) echo "there is no $part" >&2; exit 2 ;; esac
done
exit "$status"
