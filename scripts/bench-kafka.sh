#!/usr/bin/env bash
# Kafka's own producer benchmark and Parlor's bus over the same brokers, one after the other: what the bus costs.
#
#   scripts/bench-kafka.sh HOST:PORT,… [COPIES]     brokers: those of `make cluster` (source target/cluster/env), or any
set -euo pipefail
cd "$(dirname "$0")/.."

brokers=${1:-${KAFKA_BROKERS:?name the brokers, or source target/cluster/env}} copies=${2:-1}
RECORDS=1000000
RECORD_BYTES=300
topic=producer-perf-$$
libs=$(scripts/servers.sh --where kafka)
kafka() { java -Xmx256m -XX:+UseSerialGC -cp "$libs/*" "$@" 2>/dev/null; }

cargo bench --bench bus --no-run
kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$brokers" --create --topic "$topic" --partitions 12 \
  --replication-factor "$copies"
for linger in 0 1 5; do
  echo "Kafka's producer, $RECORDS records of $RECORD_BYTES bytes, acks=all, linger.ms=$linger:"
  kafka org.apache.kafka.tools.ProducerPerformance --topic "$topic" --num-records "$RECORDS" --record-size "$RECORD_BYTES" \
    --throughput -1 --producer-props "bootstrap.servers=$brokers" acks=all enable.idempotence=true "linger.ms=$linger" |
    tail -n 1
done
kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$brokers" --delete --topic "$topic"
echo "Parlor's bus, published and read back in one process:"
cargo bench --bench bus -- --kafka "$brokers" "$copies"
