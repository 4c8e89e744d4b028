#!/usr/bin/env bash
# A Flink cluster on this machine: one job manager, two task managers, and the pool that starts
# Python workers for them. See docs/flink.md.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${NST_FLINK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nst/flink}
STATE=${NST_FLINK_STATE:-${TMPDIR:-/tmp}/nst-flink-$(id -u)}
PORT=${NST_FLINK_PORT:-8081}
RPC_PORT=$((PORT + 1))
WORKER_PORT=$((PORT + 2))
SECONDS_TO_START=300
# The libraries of another pom are another folder: an old cluster never mixes with a new one.
LIBRARIES=$CACHE/$(cksum < "$HERE/pom.xml" | cut -d' ' -f1)
PARTS=(jobmanager taskmanager-1 taskmanager-2 workers)
COPY=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies

# What Flink's own start scripts give a JVM from Java 9 on.
OPENS=()
for package in lang net io nio lang.reflect text time util util.concurrent \
  util.concurrent.atomic util.concurrent.locks; do
  OPENS+=(--add-opens "java.base/java.$package=ALL-UNNAMED")
done
OPENS+=(--add-opens java.base/sun.net.util=ALL-UNNAMED
  --add-exports java.base/sun.net.util=ALL-UNNAMED
  --add-exports java.security.jgss/sun.security.krb5=ALL-UNNAMED)

main() {
  case ${1:-} in
    fetch) fetch ;;
    up) up ;;
    down) down ;;
    status) status ;;
    *)
      fail "'${1:-}' is no command; give fetch, up, down or status."
      ;;
  esac
}

fail() {
  echo "local-cluster.sh: $1" >&2
  exit "${2:-2}"
}

need() {
  command -v "$1" > /dev/null || fail "$1 is not on the PATH; install $2."
}

# Flink, Beam's runner for it, and a job server's jar that names them, once for each pom.
fetch() {
  [ -e "$LIBRARIES/job-server.jar" ] && return
  need java "a JDK (11 or 17)"
  need jar "a JDK (11 or 17)"
  need mvn "Apache Maven"
  mkdir -p "$CACHE"
  new=$(mktemp -d "$CACHE/new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  mvn --batch-mode --quiet -Dstyle.color=never -f "$HERE/pom.xml" "$COPY" \
    -DincludeScope=runtime -DoutputDirectory="$new/lib" >&2 ||
    fail "Maven could not fetch what $HERE/pom.xml names; see its lines above." 1
  {
    echo "Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver"
    echo "Class-Path: "
    (cd "$new" && printf '  %s \n' lib/*.jar)
  } > "$new/manifest"
  jar cfm "$new/job-server.jar" "$new/manifest"
  rm "$new/manifest"
  # Another process may have been faster; its folder is as good.
  mv -T "$new" "$LIBRARIES" 2> /dev/null || [ -e "$LIBRARIES/job-server.jar" ]
}

configure() {
  # In /tmp another user may have made the folder first, and would choose what runs.
  mkdir -p "$STATE"
  [ -O "$STATE" ] || fail "$STATE is another user's; give a folder of your own as NST_FLINK_STATE."
  chmod 700 "$STATE"
  mkdir -p "$STATE/conf" "$STATE/log" "$STATE/pid" "$STATE/tmp"
  sed -e "s|@STATE@|$STATE|g" -e "s|@PORT@|$PORT|g" -e "s|@RPC_PORT@|$RPC_PORT|g" \
    "$HERE/config.yaml" > "$STATE/conf/config.yaml"
}

alive() {
  [ -e "$STATE/pid/$1" ] && kill -0 -- "-$(cat "$STATE/pid/$1")" 2> /dev/null
}

# Each part leads a process group of its own, so that it ends with all that it has started.
start() {
  local name=$1
  shift
  alive "$name" && return
  setsid "$@" >> "$STATE/log/$name.log" 2>&1 < /dev/null &
  echo $! > "$STATE/pid/$name"
}

flink() {
  local name=$1 heap=$2 class=$3
  start "$name" java "-Xmx$heap" "-Xms$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    "${OPENS[@]}" -Dorg.slf4j.simpleLogger.showDateTime=true \
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS" \
    -cp "$LIBRARIES/lib/*" "$class" --configDir "$STATE/conf"
}

up() {
  local as_root=()
  if [ "$(id -u)" = 0 ]; then
    [ "${NST_FLINK_ALLOW_ROOT:-}" = 1 ] ||
      fail "as root every job of the cluster would be root's; start it as a user without rights, or set NST_FLINK_ALLOW_ROOT=1 where only root is here (a container of its own)."
    as_root=(--allow-root)
  fi
  fetch
  need python "this project, and activate its environment (. .venv/bin/activate)"
  python -c 'import pipeline, apache_beam' 2> /dev/null ||
    fail "$(command -v python) has no Beam or not this project; . .venv/bin/activate first."
  configure
  flink jobmanager 320m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint
  flink taskmanager-1 256m org.apache.flink.runtime.taskexecutor.TaskManagerRunner
  flink taskmanager-2 256m org.apache.flink.runtime.taskexecutor.TaskManagerRunner
  start workers python -m pipeline.runners.worker_pool "--port=$WORKER_PORT" "${as_root[@]}"
  await_start
  cat << END
Flink is at http://localhost:$PORT, its logs are in $STATE/log. Give nst run:
  --runner=FlinkRunner --flink_master=localhost:$PORT --parallelism=2
  --execution_mode_for_batch=BATCH_FORCED --environment_cache_millis=2000
  --flink_job_server_jar=$LIBRARIES/job-server.jar
  --environment_type=EXTERNAL --environment_config=127.0.0.1:$WORKER_PORT
END
}

# Both task managers have told the job manager, and the pool listens.
ready() {
  python - "$PORT" "$WORKER_PORT" 2> /dev/null << 'END'
import json, socket, sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with direct.open(f"http://localhost:{sys.argv[1]}/overview", timeout=10) as answer:
    taskmanagers = json.load(answer)["taskmanagers"]
socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=10).close()
sys.exit(taskmanagers < 2)
END
}

await_start() {
  local deadline=$((SECONDS + SECONDS_TO_START)) name
  until ready; do
    for name in "${PARTS[@]}"; do
      alive "$name" || fail "$name did not start; see $STATE/log/$name.log." 1
    done
    [ "$SECONDS" -lt "$deadline" ] ||
      fail "the cluster is not up after $SECONDS_TO_START s; see the logs in $STATE/log." 1
    sleep 0.5
  done
}

down() {
  local name
  for name in "${PARTS[@]}"; do
    if alive "$name"; then
      kill -TERM -- "-$(cat "$STATE/pid/$name")" 2> /dev/null || true
    fi
  done
  for name in "${PARTS[@]}"; do
    for _ in $(seq 50); do
      alive "$name" || break
      sleep 0.1
    done
    if alive "$name"; then
      kill -KILL -- "-$(cat "$STATE/pid/$name")" 2> /dev/null || true
    fi
    rm -f "$STATE/pid/$name"
  done
  rm -rf "$STATE/tmp"
}

status() {
  local name missing=0
  for name in "${PARTS[@]}"; do
    if alive "$name"; then
      echo "$name: up ($(cat "$STATE/pid/$name"))"
    else
      echo "$name: down"
      missing=1
    fi
  done
  return "$missing"
}

main "$@"; exit
