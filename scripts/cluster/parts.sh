# The parts of the cluster: how each is configured, started, found ready and stopped. Sourced by scripts/cluster.sh.

brokers() {
  local n list=()
  for n in $(seq "$BROKERS"); do list+=("127.0.0.1:$(port_of "BROKER_$n")"); done
  (IFS=,; echo "${list[*]}")
}

database_url() { echo "postgres://parlor:$(cat "$SECRETS/postgres-password")@127.0.0.1:$PORT_POSTGRES/parlor"; }

start_part() {
  case "$1" in
    postgres) start_postgres ;;
    redis)
      mkdir -p "$CLUSTER/redis"
      start redis redis-server --port "$PORT_REDIS" --bind 127.0.0.1 --save '' --dir "$CLUSTER/redis" ;;
    broker-*) start_broker "${1#broker-}" ;;
    node-*) start_node "${1#node-}" ;;
    ingress) start_ingress ;;
  esac
}

await_part() {
  case "$1" in
    postgres) until_true postgres 60 postgres_answers; make_database ;;
    redis) until_true redis 20 redis_answers ;;
    broker-*) until_true "$1" 120 listens "$(port_of "BROKER_${1#broker-}")" ;;
    node-*) until_true "$1" 120 node_is_ready "${1#node-}" ;;
    ingress) until_true ingress 20 listens "$PORT_INGRESS" ;;
  esac
}

stop_part() {
  case "$1" in
    # INT: "fast", which ends sessions and leaves nothing to recover; TERM would wait for clients.
    postgres) stop postgres INT 30 ;;
    node-*) stop "$1" TERM "$NODE_STOP" ;;
    # A broker that cannot hand over (no majority) would wait long; its log is whole without that.
    *) stop "$1" TERM 10 ;;
  esac
}

# Postgres refuses to run as root, and its user may not be able to reach a folder in root's home.
postgres_data() {
  if [ -e "$CLUSTER/postgres-data" ]; then cat "$CLUSTER/postgres-data"; return; fi
  local folder=$CLUSTER/postgres
  if [ "$(id -u)" -eq 0 ] && ! setpriv --reuid postgres --clear-groups test -x "$CLUSTER"; then
    folder=$(mktemp -d /var/tmp/parlor-cluster.XXXXXX)/postgres
    chmod 755 "$(dirname "$folder")"
  fi
  echo "$folder" | tee "$CLUSTER/postgres-data"
}

start_postgres() {
  local bin data owner=()
  if [ "$(id -u)" -eq 0 ]; then owner=(setpriv --reuid postgres --regid postgres --clear-groups --); fi
  bin=$(scripts/servers.sh --where postgres)
  data=$(postgres_data)
  if [ ! -e "$data/PG_VERSION" ]; then
    mkdir -p "$data"
    if [ "$(id -u)" -eq 0 ]; then chown postgres "$data"; fi
    say "making the database"
    # Readable to its reader only, and gone afterwards.
    install -m 600 ${owner[0]:+-o postgres} "$SECRETS/postgres-password" "$data.password"
    (cd / && "${owner[@]}" "$bin/initdb" -D "$data" -U parlor -A scram-sha-256 --pwfile="$data.password" -E UTF8 --locale=C \
      >>"$LOG/postgres.log" 2>&1) || fail "initdb: $(tail -n 5 "$LOG/postgres.log")"
    rm "$data.password"
  fi
  start postgres "${owner[@]}" "$bin/postgres" -D "$data" -p "$PORT_POSTGRES" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=200
}

query() {
  local bin
  bin=$(scripts/servers.sh --where postgres)
  PGPASSWORD=$(cat "$SECRETS/postgres-password") "$bin/psql" -h 127.0.0.1 -p "$PORT_POSTGRES" -U parlor -d postgres -qAt -c "$1"
}

postgres_answers() { [ "$(query 'SELECT 1')" = 1 ]; }

make_database() {
  [ -n "$(query "SELECT 1 FROM pg_database WHERE datname = 'parlor'")" ] || query 'CREATE DATABASE parlor'
}

# In a shell of its own: one that cannot connect ends.
redis_answers() (
  exec 7<>"/dev/tcp/127.0.0.1/$PORT_REDIS"
  printf 'PING\r\n' >&7
  read -r -t 2 answer <&7
  [ "${answer%$'\r'}" = +PONG ]
)

start_broker() {
  local n=$1 folder=$CLUSTER/broker-$1 voters=() other jars safe
  jars=$(scripts/servers.sh --where kafka)
  for other in $(seq "$BROKERS"); do voters+=("$other@127.0.0.1:$(port_of "CONTROLLER_$other")"); done
  # With three copies, two must have a record before it counts; with fewer brokers all must.
  safe=$((BROKERS < 3 ? BROKERS : 2))
  mkdir -p "$folder"
  cat >"$folder/server.properties" <<CONFIG
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$(IFS=,; echo "${voters[*]}")
listeners=PLAINTEXT://127.0.0.1:$(port_of "BROKER_$n"),CONTROLLER://127.0.0.1:$(port_of "CONTROLLER_$n")
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$folder/data
auto.create.topics.enable=false
default.replication.factor=$((BROKERS < 3 ? BROKERS : 3))
min.insync.replicas=$safe
offsets.topic.replication.factor=$((BROKERS < 3 ? BROKERS : 3))
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$((BROKERS < 3 ? BROKERS : 3))
transaction.state.log.min.isr=$safe
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
# A node that died is given up after kafka.session_timeout_millis; brokers allow no less than 6 s unless told.
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
background.threads=2
num.network.threads=1
num.io.threads=2
CONFIG
  cat >"$folder/log4j2.properties" <<'CONFIG'
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
CONFIG
  # Letters and digits only: one that began with '-' would be taken for an option, one time in 64.
  if [ ! -e "$CLUSTER/kafka-id" ]; then head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=\n' >"$CLUSTER/kafka-id"; fi
  # Formatted by the process that becomes the broker, so that several do it side by side.
  start "broker-$n" sh -c 'jars=$1 id=$2 folder=$3
    if [ ! -e "$folder/data/meta.properties" ]; then
      java -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c "$folder/server.properties" || exit
    fi
    exec java $4 \
      "-Dlog4j2.configurationFile=$folder/log4j2.properties" -cp "$jars/*" kafka.Kafka "$folder/server.properties"' \
    sh "$jars" "$(cat "$CLUSTER/kafka-id")" "$folder" "$BROKER_JAVA"
}

start_node() {
  local n=$1 folder=$CLUSTER/node-$1
  mkdir -p "$folder"
  {
    echo "# Written by scripts/cluster.sh at each start of this node."
    echo 'trusted_proxies = ["127.0.0.1/32"]'
    # These brokers allow it: what a node had in work when it died is done by others after so long.
    printf '[kafka]\nsession_timeout_millis = 3000\n'
    # Fewer brokers than the three that are expected.
    if [ "$BROKERS" -lt 3 ]; then printf 'replication = %s\nmin_in_sync = %s\n' "$BROKERS" "$BROKERS"; fi
    if [ -n "${CLUSTER_SETTINGS:-}" ]; then cat "$CLUSTER_SETTINGS"; fi
  } >"$folder/parlor.toml"
  # The open files that the machine allows: each socket is one.
  ulimit -n "$(ulimit -Hn)"
  in_cluster
  start "node-$n" "$PROGRAM" serve --config "$folder/parlor.toml" --data "$folder/data" \
    --listen "127.0.0.1:$(port_of "NODE_$n")" --internal-listen "127.0.0.1:$(port_of "INTERNAL_$n")"
}

# What every node and command is told of the others.
in_cluster() {
  export "PARLOR_DATABASE_URL=$(database_url)" "PARLOR_KAFKA_BROKERS=$(brokers)" \
    "PARLOR_REDIS_URL=redis://127.0.0.1:$PORT_REDIS/0" "PARLOR_JWT_KEYS_FILE=$SECRETS/jwt-keys" \
    "PARLOR_OBJECT_STORE_URL=file://$CLUSTER/objects"
}

# What a node's /readyz answers: the status.
node_is_ready() (
  exec 7<>"/dev/tcp/127.0.0.1/$(port_of "INTERNAL_$1")"
  printf 'GET /readyz HTTP/1.0\r\n\r\n' >&7
  read -r -t 5 _ status _ <&7
  [ "$status" = 200 ]
)

make_admin() {
  if [ -e "$CLUSTER/admin-made" ] || [ "$NODES" -eq 0 ]; then return; fi
  in_cluster
  "$PROGRAM" user add admin --password-stdin --role admin --data "$CLUSTER/node-1/data" \
    <"$SECRETS/admin-password" >>"$LOG/admin.log" 2>&1 || fail "the administrator: $(tail -n 3 "$LOG/admin.log")"
  touch "$CLUSTER/admin-made"
}

# The settings that the handbook shows, before the nodes that are ready.
start_ingress() {
  local n nodes=()
  for n in $(seq "$NODES"); do nodes+=("127.0.0.1:$(port_of "NODE_$n")=127.0.0.1:$(port_of "INTERNAL_$n")"); done
  ulimit -n "$(ulimit -Hn)"
  start ingress scripts/cluster/ingress.sh "$(scripts/servers.sh --where nginx)/nginx" "$CLUSTER/ingress" \
    "127.0.0.1:$PORT_INGRESS" "${nodes[@]}"
}
