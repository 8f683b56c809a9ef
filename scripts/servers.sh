#!/usr/bin/env bash
# Brings the servers that a cluster on this machine consists of beside Parlor: Postgres, Redis and nginx as packages of
# Debian, Kafka as jars from Maven Central (55 MB, under ~/.cache/parlor-tests/kafka-VERSION). Says what takes long,
# and nothing when all is there. `scripts/cluster.sh` and `tests/setup.sh` call it.
#
#   scripts/servers.sh                 everything
#   scripts/servers.sh postgres kafka  only these: postgres, redis, nginx, faketime, prometheus, bubblewrap, kafka
#   scripts/servers.sh --where NAME    prints the folder of a server's programs or jars
set -euo pipefail

KAFKA=4.3.1
LOG4J=2.25.4
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/parlor-tests"
KAFKA_HOME="$CACHE/kafka-$KAFKA"

# Debian keeps the programs of Postgres out of the path; the newest version wins.
postgres_folder() {
  local newest
  newest=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
  newest=${newest:-$(command -v postgres || true)}
  if [ -n "$newest" ]; then dirname "$newest"; fi
}

is_there() {
  case "$1" in
    postgres) [ -n "$(postgres_folder)" ] ;;
    redis) command -v redis-server >/dev/null ;;
    faketime) command -v faketime >/dev/null ;;
    nginx) command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] ;;
    bubblewrap) command -v bwrap >/dev/null ;;
    prometheus) command -v prometheus >/dev/null && command -v promtool >/dev/null ;;
    kafka) [ -e "$KAFKA_HOME/ready" ] && command -v java >/dev/null ;;
    *) echo "servers.sh: there is no server called $1" >&2; exit 2 ;;
  esac
}

package_of() {
  case "$1" in
    postgres) echo postgresql ;;
    redis) echo redis-server ;;
    nginx) echo nginx-light ;;
    *) echo "$1" ;;
  esac
}

install_packages() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
  if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    echo "missing: $*. Install them (on Debian: apt-get install $*), then try again." >&2
    exit 1
  fi
  echo "installing $* (apt-get), once …" >&2
  # RUNLEVEL=1 keeps the packages from starting services of their own; what is needed here is started by who needs it.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c \
    'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >"$CACHE/apt.log" 2>&1 ||
    { tail -n 20 "$CACHE/apt.log" >&2; exit 1; }
}

fetch_kafka() {
  for program in java mvn; do
    command -v "$program" >/dev/null || { echo "missing: $program, for Kafka (on Debian: default-jdk-headless, maven)" >&2; exit 1; }
  done
  echo "fetching Kafka $KAFKA from Maven Central (55 MB), once …" >&2
  rm -rf "$KAFKA_HOME"
  mkdir -p "$KAFKA_HOME"
  cat >"$KAFKA_HOME/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>parlor</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J</version></dependency>
  </dependencies>
</project>
POM
  (cd "$KAFKA_HOME" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=libs -DincludeScope=runtime) >&2
  touch "$KAFKA_HOME/ready"
}

if [ "${1:-}" = --where ]; then
  is_there "$2" || { echo "$2 is not here: run scripts/servers.sh $2" >&2; exit 1; }
  case "$2" in
    postgres) postgres_folder ;;
    kafka) echo "$KAFKA_HOME/libs" ;;
    nginx) dirname "$(command -v nginx || echo /usr/sbin/nginx)" ;;
    *) dirname "$(command -v "$(package_of "$2")")" ;;
  esac
  exit
fi

[ $# -gt 0 ] || set -- postgres redis nginx kafka
missing() { for server in "$@"; do is_there "$server" || echo "$server"; done; }
mapfile -t wanted < <(missing "$@")
[ "${#wanted[@]}" -gt 0 ] || exit 0

mkdir -p "$CACHE"
# Two of these at once must not install over one another.
exec 8>"$CACHE/servers.lock"
if command -v flock >/dev/null; then flock 8; fi
packages=()
for server in $(missing "$@"); do
  if [ "$server" = kafka ]; then fetch_kafka; else packages+=("$(package_of "$server")"); fi
done
if [ "${#packages[@]}" -gt 0 ]; then install_packages "${packages[@]}"; fi
for server in $(missing "$@"); do
  echo "$server was installed and is still not found" >&2
  exit 1
done
