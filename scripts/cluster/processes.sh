# Processes that outlive the shell that started them, each known by a file with its id and the moment it began, so that
# nothing else is ever taken for it. Sourced by scripts/cluster.sh; needs RUN and LOG, two folders.

say() { echo "cluster: $*"; }
fail() { echo "cluster: $*" >&2; exit 1; }

# When a process began, in ticks since the machine started: field 22, counted behind the name, which may hold anything.
began() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "${20}"
}

# The id of a part, if it is still the very process that was started here.
pid_of() {
  local pid moment
  read -r pid moment 2>/dev/null <"$RUN/$1.pid" || return 1
  [ "$(began "$pid")" = "$moment" ] && echo "$pid"
}

# start NAME COMMAND…: in a session of its own, its output behind what is in the log already.
start() {
  local name=$1
  shift
  setsid "$@" >>"$LOG/$name.log" 2>&1 </dev/null 8>&- 9>&- &
  local pid=$! moment
  moment=$(began "$pid") || fail "$name ended at once: $(tail -n 5 "$LOG/$name.log")"
  echo "$pid $moment" >"$RUN/$name.pid"
}

# stop NAME SIGNAL SECONDS: waits for its end; kills it after so long.
stop() {
  local name=$1 signal=$2 limit=$3 pid
  if ! pid=$(pid_of "$name"); then
    rm -f "$RUN/$name.pid"
    return
  fi
  kill "-$signal" "$pid"
  # One that stands still hears nothing else.
  [ "$signal" = KILL ] || kill -CONT "$pid" 2>/dev/null || true
  local end=$((SECONDS + limit))
  while pid_of "$name" >/dev/null; do
    if [ "$SECONDS" -ge "$end" ]; then
      say "$name does not end within $limit s: killed"
      kill -KILL "$pid" 2>/dev/null || true
      end=$((end + 5))
    fi
    sleep 0.05
  done
  rm -f "$RUN/$name.pid"
}

# until_true NAME SECONDS COMMAND…: waits, with a word every few seconds; fails with the log when NAME ends meanwhile.
until_true() {
  local name=$1 limit=$2 begun=$SECONDS told=$SECONDS
  shift 2
  until "$@" 2>/dev/null; do
    pid_of "$name" >/dev/null || fail "$name has ended; $LOG/$name.log says: $(tail -n 15 "$LOG/$name.log")"
    [ $((SECONDS - begun)) -lt "$limit" ] || fail "$name is not ready after $limit s; see $LOG/$name.log"
    if [ $((SECONDS - told)) -ge 5 ]; then
      told=$SECONDS
      say "waiting for $name, $((SECONDS - begun)) s …"
    fi
    sleep 0.1
  done
}

# Whether anybody listens on a port of this machine.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first port at or above this one that nobody listens on.
free_port() {
  local port=$1
  while listens "$port"; do port=$((port + 1)); done
  echo "$port"
}
