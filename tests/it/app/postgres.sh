# Keeps one Postgres server for a test program: `postgres.sh BIN PARENT PORT [SETTING=VALUE …]` prints the server's folder,
# then takes commands by line on standard input and answers each with `done` or `failed`. When standard input ends,
# however the test program ended, the server is stopped and its files go.
bin=$1 port=$3
folder=$(mktemp -d "$2/parlor-postgres.XXXXXX") || exit 1
shift 3
options="-h 127.0.0.1 -p $port -k $folder"
for setting; do options="$options -c $setting"; done
pid=

start() {
    tries=0
    until [ -n "$pid" ] && "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ]; then
            tail -n 20 "$folder/log" >&2
            return 1
        fi
        # Behind a crash it does not come up as long as one of the old server's children lives.
        if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
            # shellcheck disable=SC2086 # one word each
            "$bin/postgres" -D "$folder/data" $options </dev/null >>"$folder/log" 2>&1 &
            pid=$!
        fi
        sleep 0.05
    done
}

end() {
    [ -z "$pid" ] && return
    kill -s "$1" "$pid"
    wait "$pid"
    pid=
    true
}

if ! "$bin/initdb" -D "$folder/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 --no-sync >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    rm -rf "$folder"
    exit 1
fi
echo "$folder"
while read -r command; do
    case $command in
        start) start ;;
        # Sessions are broken off, nothing is lost.
        stop) end INT ;;
        kill) end KILL ;;
        *) false ;;
    esac && echo 'done' || echo failed
done
end INT
rm -rf "$folder"
