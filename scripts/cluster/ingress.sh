#!/usr/bin/env bash
# The ingress of scripts/cluster.sh: nginx with the settings of deploy/ingress/nginx.sh before the nodes that are ready, as Kubernetes
# keeps endpoints. Nodes are asked twice a second; when the list changes nginx is reloaded, which sockets outlive. When none calls
# itself ready, all are listed: what they can still do, they do.
#
#   ingress.sh NGINX FOLDER LISTEN NODE=INTERNAL…      addresses, each HOST:PORT
set -euo pipefail

nginx=$1 folder=$2 listen=$3
shift 3
nodes=("$@")
mkdir -p "$folder"
declare -A missed

# Whether a node's /readyz says 200 within a second.
ready() (
  exec 7<>"/dev/tcp/${1%:*}/${1##*:}"
  printf 'GET /readyz HTTP/1.0\r\n\r\n' >&7
  read -r -t 1 _ status _ <&7
  [ "$status" = 200 ]
) 2>/dev/null

# Those to send clients to; a node is left out when it has not said that it is ready twice in a row.
endpoints() {
  local node asked=() list=()
  for node in "${nodes[@]}"; do
    ready "${node#*=}" &
    asked+=("$!")
  done
  for node in "${nodes[@]}"; do
    if wait "${asked[0]}"; then missed[$node]=0; else missed[$node]=$((${missed[$node]:-0} + 1)); fi
    asked=("${asked[@]:1}")
    if [ "${missed[$node]}" -lt 2 ]; then list+=("${node%=*}"); fi
  done
  if [ "${#list[@]}" -eq 0 ]; then list=("${nodes[@]%=*}"); fi
  found="${list[*]}"
}

configure() {
  # shellcheck disable=SC2086
  deploy/ingress/nginx.sh --listen "$listen" $1 >"$folder/nginx.conf.new"
  mv "$folder/nginx.conf.new" "$folder/nginx.conf"
}

found=
endpoints
served=$found
configure "$served"
# It goes with this shell, however that ends.
setpriv --pdeathsig TERM "$nginx" -p "$folder" -c nginx.conf -g "daemon off; pid nginx.pid; error_log stderr warn;" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null; wait "$child" || true; exit 0' TERM INT
while kill -0 "$child" 2>/dev/null; do
  sleep 0.5
  endpoints
  if [ "$found" != "$served" ]; then
    echo "ingress: clients go to $found"
    served=$found
    configure "$served"
    kill -HUP "$child"
  fi
done
echo "ingress: nginx has ended"
exit 1
