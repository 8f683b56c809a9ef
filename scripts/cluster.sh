#!/usr/bin/env bash
# A whole cluster on this machine, without containers: three nodes, three brokers, Postgres, Redis and an ingress, on
# loopback ports, everything under target/cluster. For trying it by hand, for measuring, for breaking it.
#
#   scripts/cluster.sh up                 start what does not run; what is missing on the machine is installed first
#   scripts/cluster.sh down [--wipe]      stop what was started here; data and logs stay, with --wipe they go too
#   scripts/cluster.sh status             what runs, and where
#   scripts/cluster.sh node 2 start       one part: node N, broker N, postgres, redis, ingress; start, stop, kill (-9),
#                                         pause (SIGSTOP), resume
#   source target/cluster/env             NODE_1_URL, NODE_1_INTERNAL_URL, NODE_1_PID, …, BROKER_1_PID, …, INGRESS_URL,
#                                         KAFKA_BROKERS, DATABASE_URL, REDIS_URL, REDIS_PID, POSTGRES_PID, ADMIN_NAME, …
#
# CLUSTER_NODES and CLUSTER_BROKERS (3 and 3) count when its folder is made; CLUSTER_DIR is another folder, CLUSTER_PROGRAM
# another `parlor`, CLUSTER_SETTINGS a file with settings of the nodes besides (without [kafka]), CLUSTER_BROKER_JAVA the
# brokers' Java options. PARLOR_… variables reach the nodes.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${CARGO_TARGET_DIR:-target}
CLUSTER=${CLUSTER_DIR:-$TARGET/cluster}
mkdir -p "$CLUSTER"
CLUSTER=$(cd "$CLUSTER" && pwd)
PROGRAM=${CLUSTER_PROGRAM:-$TARGET/release/parlor}
RUN=$CLUSTER/run
LOG=$CLUSTER/log
SECRETS=$CLUSTER/secrets
# For three of them to be up soon on a small machine. In the long run they are faster with the compiler's second level.
BROKER_JAVA=${CLUSTER_BROKER_JAVA:--Xms128m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}
# A node drains for up to 20 s.
NODE_STOP=30
source scripts/cluster/processes.sh
source scripts/cluster/parts.sh

# Ports, sizes and secrets: chosen once, so that a part that comes back is where it was.
prepare() {
  mkdir -p "$RUN" "$LOG" "$CLUSTER/objects"
  if [ ! -e "$SECRETS/jwt-keys" ]; then
    (
      umask 077
      mkdir -p "$SECRETS"
      secret() { head -c "$1" /dev/urandom | base64 -w 0; }
      secret 18 | tr '+/' '-_' >"$SECRETS/postgres-password"
      secret 15 | tr '+/' '-_' >"$SECRETS/admin-password"
      echo "k1:$(secret 32)" >"$SECRETS/jwt-keys"
    )
  fi
  if [ ! -e "$CLUSTER/shape" ]; then
    local port=18080 name
    {
      echo "NODES=${CLUSTER_NODES:-3}"
      echo "BROKERS=${CLUSTER_BROKERS:-3}"
      for name in INGRESS POSTGRES REDIS NODE_{1..9} INTERNAL_{1..9} BROKER_{1..9} CONTROLLER_{1..9}; do
        port=$(free_port "$port")
        echo "PORT_$name=$port"
        port=$((port + 1))
      done
    } >"$CLUSTER/shape.new"
    mv "$CLUSTER/shape.new" "$CLUSTER/shape"
  fi
  # shellcheck disable=SC1091
  source "$CLUSTER/shape"
}

port_of() {
  local name=PORT_$1
  echo "${!name}"
}

parts() {
  local n
  echo postgres
  echo redis
  for n in $(seq "$BROKERS"); do echo "broker-$n"; done
  for n in $(seq "$NODES"); do echo "node-$n"; done
  echo ingress
}

# What a shell or a program needs to find everything; written anew whenever something starts or stops.
write_env() {
  local n
  {
    echo "CLUSTER_DIR=$CLUSTER"
    echo "INGRESS_URL=http://127.0.0.1:$PORT_INGRESS"
    echo "INGRESS_PID=$(pid_of ingress)"
    echo "KAFKA_BROKERS=$(brokers)"
    echo "DATABASE_URL=$(database_url)"
    echo "POSTGRES_PID=$(pid_of postgres)"
    echo "REDIS_URL=redis://127.0.0.1:$PORT_REDIS/0"
    echo "REDIS_PID=$(pid_of redis)"
    echo "OBJECT_STORE_URL=file://$CLUSTER/objects"
    echo "JWT_KEYS_FILE=$SECRETS/jwt-keys"
    echo "ADMIN_NAME=admin"
    echo "ADMIN_PASSWORD_FILE=$SECRETS/admin-password"
    for n in $(seq "$BROKERS"); do echo "BROKER_${n}_PID=$(pid_of "broker-$n")"; done
    for n in $(seq "$NODES"); do
      echo "NODE_${n}_URL=http://127.0.0.1:$(port_of "NODE_$n")"
      echo "NODE_${n}_INTERNAL_URL=http://127.0.0.1:$(port_of "INTERNAL_$n")"
      echo "NODE_${n}_PID=$(pid_of "node-$n")"
    done
  } >"$CLUSTER/env.new"
  chmod 600 "$CLUSTER/env.new"
  mv "$CLUSTER/env.new" "$CLUSTER/env"
}

status() {
  local part pid n
  for part in $(parts); do
    pid=$(pid_of "$part") || pid="does not run"
    printf '  %-9s %-14s' "$part" "$pid"
    case "$part" in
      node-*) n=${part#node-}; echo "http://127.0.0.1:$(port_of "NODE_$n")  (internal http://127.0.0.1:$(port_of "INTERNAL_$n"))" ;;
      broker-*) echo "127.0.0.1:$(port_of "BROKER_${part#broker-}")" ;;
      postgres) echo "127.0.0.1:$PORT_POSTGRES" ;;
      redis) echo "127.0.0.1:$PORT_REDIS" ;;
      ingress) echo "http://127.0.0.1:$PORT_INGRESS" ;;
    esac
  done
}

up() {
  local missing=() part begun=$SECONDS
  for part in $(parts); do pid_of "$part" >/dev/null || missing+=("$part"); done
  if [ "${#missing[@]}" -eq 0 ]; then
    say "is up already"
  else
    [ -x "$PROGRAM" ] || fail "$PROGRAM is not there: make cluster builds it"
    scripts/servers.sh postgres redis nginx kafka
    say "starting ${missing[*]}"
    # All at once, then wait for each: brokers take their time, and nodes wait for them by themselves.
    for part in "${missing[@]}"; do
      start_part "$part"
      # The database itself is an operator's to make, and nodes refuse to start without.
      if [ "$part" = postgres ]; then await_part postgres; fi
    done
    for part in "${missing[@]}"; do
      await_part "$part"
      say "$part is ready, after $((SECONDS - begun)) s"
    done
    make_admin
  fi
  write_env
  status
  say "the ingress is http://127.0.0.1:$PORT_INGRESS, the administrator admin, the password in $SECRETS/admin-password"
  say "for a shell: source $CLUSTER/env; logs in $LOG; stop with make cluster-down"
}

down() {
  local part running=()
  # Whoever depends on others first. Brokers together: the last one would wait for a majority that is gone.
  for part in $(parts | tac); do
    if pid_of "$part" >/dev/null; then running+=("$part"); fi
  done
  if [ "${#running[@]}" -gt 0 ]; then say "stopping ${running[*]}"; fi
  for part in "${running[@]}"; do
    case "$part" in broker-*) ;; *) stop_part "$part" ;; esac
  done
  for part in "${running[@]}"; do
    case "$part" in broker-*) stop_part "$part" & ;; esac
  done
  wait
  if [ "${1:-}" = --wipe ]; then
    rm -rf "$CLUSTER"
    say "is down; its data and logs are gone"
  else
    write_env
    say "is down; data, logs and secrets stay in $CLUSTER (make cluster-down WIPE=1 throws them away)"
  fi
}

# Whom a signal to all of a part goes to: the ingress is several processes, in a group of their own.
all_of() {
  case "$1" in
    ingress) echo "-$(pid_of "$1")" ;;
    *) pid_of "$1" ;;
  esac
}

# part NAME VERB
part() {
  local all
  all=$(parts | tr '\n' ' ')
  [[ " $all" = *" $1 "* ]] || fail "there is no $1; there are: $all"
  case "$2" in
    start)
      if pid_of "$1" >/dev/null; then say "$1 runs already"; else start_part "$1"; await_part "$1"; fi ;;
    stop) stop_part "$1" ;;
    kill) stop "$1" KILL 5 ;;
    pause) kill -STOP -- "$(all_of "$1")" ;;
    resume) kill -CONT -- "$(all_of "$1")" ;;
    *) fail "$2: start, stop, kill, pause or resume" ;;
  esac
  write_env
  say "$1: $2 done, $(pid_of "$1" || echo "does not run")"
}

usage() {
  sed -n '2,16s/^# \{0,1\}//p' scripts/cluster.sh
  exit 2
}

prepare
# One at a time on one folder.
exec 9>"$CLUSTER/lock"
flock -w 120 9 || fail "another one of these works on $CLUSTER"
case "${1:-}" in
  up) up ;;
  down) down "${2:-}" ;;
  status) status ;;
  node | broker) [ $# -eq 3 ] || usage; part "$1-$2" "$3" ;;
  postgres | redis | ingress) [ $# -eq 2 ] || usage; part "$1" "$2" ;;
  *) usage ;;
esac
