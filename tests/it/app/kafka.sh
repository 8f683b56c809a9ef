# Keeps one Kafka broker for a test program: `kafka.sh LIBS PARENT SETTING=VALUE …` prints the broker's folder, then takes
# commands by line on standard input and answers each with `done` or `failed`. `@FOLDER@` in a setting is that folder.
# When standard input ends, however the test program ended, the broker is killed and its files go.
libs=$1 parent=$2
shift 2
folder=$(mktemp -d "$parent/parlor-kafka.XXXXXX") || exit 1
pid=
for setting; do echo "$setting"; done | sed "s|@FOLDER@|$folder|g" >"$folder/server.properties"

java() {
    command java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@"
}

# A certificate of its own, for what speaks TLS.
prepare() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$folder/key.pem" -out "$folder/ca.pem" 2>"$folder/openssl.log" || { cat "$folder/openssl.log" >&2; return 1; }
    cat "$folder/key.pem" "$folder/ca.pem" >"$folder/broker.pem"
    # One id for all brokers of a cluster, whatever folder they live in.
    java kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$folder/server.properties" \
        --add-scram 'SCRAM-SHA-512=[name=parlor,password=parlor-secret]' >"$folder/format.log" 2>&1 ||
        { cat "$folder/format.log" >&2; return 1; }
}

start() {
    [ -e "$folder/data/meta.properties" ] || prepare || return 1
    command java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.Kafka \
        "$folder/server.properties" </dev/null >>"$folder/broker.log" 2>&1 &
    pid=$!
}

end() {
    [ -z "$pid" ] && return
    kill -s KILL "$pid"
    wait "$pid" 2>/dev/null
    pid=
}

echo "$folder"
while read -r command; do
    case $command in
        start) start ;;
        kill) end ;;
        pause) kill -s STOP "$pid" ;;
        resume) kill -s CONT "$pid" ;;
        *) false ;;
    esac && echo 'done' || echo failed
done
end
rm -rf "$folder"
