#!/bin/sh
# Prints a configuration of nginx for these nodes, made of the settings that it must agree with; the chart's Ingress has the
# same numbers. tests/it/cluster/ingress.rs runs a real nginx with it.
#
#   deploy/ingress/nginx.sh --listen 127.0.0.1:8443 --certificate FILE --key FILE NODE:PORT…
#
#   --max-message-bytes N   session.max_message_bytes (65536)
#   --ping-interval N       session.ping_interval_seconds (25)
#   --workers N             for how many processes nginx shall have (auto)
# Without --certificate it speaks plain HTTP.
set -eu

listen=127.0.0.1:8080 certificate= key= bytes=65536 ping=25 workers=auto
while [ $# -gt 0 ]; do
    case "$1" in
        --listen) listen=$2 ;;
        --certificate) certificate=$2 ;;
        --key) key=$2 ;;
        --max-message-bytes) bytes=$2 ;;
        --ping-interval) ping=$2 ;;
        --workers) workers=$2 ;;
        --*) echo "nginx.sh: there is no $1" >&2; exit 2 ;;
        *) break ;;
    esac
    shift 2
done
[ $# -gt 0 ] || { echo "nginx.sh: which nodes?" >&2; exit 2; }

# A socket may be silent for three pings. JSON may write a byte of a message as six.
silence=$((ping * 3 + 15))
body=$((bytes * 6 / 1024 + 64))

cat <<CONF
# Written by deploy/ingress/nginx.sh.
worker_processes $workers;
worker_rlimit_nofile 100000;
events { worker_connections 20000; }
http {
    access_log off;
    # A browser's access token comes in the header Sec-WebSocket-Protocol: it must be in no log format either.
    server_tokens off;
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    upstream parlor {
        least_conn;
$(for node in "$@"; do echo "        server $node max_fails=1 fail_timeout=2s;"; done)
        keepalive 64;
    }
    server {
        listen $listen$([ -z "$certificate" ] || echo " ssl");
$([ -z "$certificate" ] || printf '        ssl_certificate %s;\n        ssl_certificate_key %s;\n        ssl_protocols TLSv1.2 TLSv1.3;\n' "$certificate" "$key")
        client_max_body_size ${body}k;
        location / {
            proxy_pass http://parlor;
            proxy_http_version 1.1;
            proxy_set_header Host \$http_host;
            # What a client claims stands before what nginx saw; a node believes the last that is no trusted proxy.
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto \$scheme;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_read_timeout ${silence}s;
            proxy_send_timeout ${silence}s;
            proxy_buffering off;
            proxy_connect_timeout 1s;
            # A node that drains says 503 to what it does not take; what changed something is not sent twice.
            proxy_next_upstream error timeout http_503;
            proxy_next_upstream_tries 3;
        }
    }
}
CONF
