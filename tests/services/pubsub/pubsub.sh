#!/usr/bin/env bash
# Runs Google's own emulator of Pub/Sub on 127.0.0.1 for tests.
#
#   pubsub.sh find             prints where the emulator is, or says how to get it
#   pubsub.sh start FOLDER     starts one that is empty, waits until it answers, and prints its address; what follows are
#                              options of Java, which count over its own
#   pubsub.sh stop FOLDER      stops it
#   pubsub.sh kill FOLDER      kills it; everything in it is gone
#
# It belongs to the Google Cloud SDK and to nothing else: neither Debian nor Maven has it. Needs a JDK of 11 or later. It is run
# with one class of its libraries mended (mended/), without which it never learns that a reader is gone.
set -euo pipefail

fail() {
  echo "pubsub.sh: $1" >&2
  exit 1
}

find_jar() {
  local root jar
  for root in "${CLOUDSDK_ROOT_DIR:-}" "$(command -v gcloud >/dev/null && gcloud info --format='value(installation.sdk_root)' 2>/dev/null || true)" \
    /usr/lib/google-cloud-sdk /opt/google-cloud-sdk "$HOME/google-cloud-sdk"; do
    [[ -n $root ]] || continue
    jar=$(compgen -G "$root/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar" | sort -V | tail -n 1 || true)
    [[ -n $jar ]] && { echo "$jar"; return; }
  done
  fail "Google's emulator of Pub/Sub is not installed; \`gcloud components install pubsub-emulator\` gets it, or from Google's Debian \
repository the package google-cloud-cli-pubsub-emulator (CLOUDSDK_ROOT_DIR says where else the SDK is)"
}

# What its jar runs.
MAIN=com.google.cloud.pubsub.testing.v1.Main

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

is_running() { [[ -e $1/pid ]] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

start() {
  local folder=$1 jar port
  shift
  for program in java javac; do
    command -v "$program" >/dev/null || fail "no \`$program\` found; install a JDK of 11 or later"
  done
  jar=$(find_jar)
  mkdir -p "$folder/mended"
  javac -d "$folder/mended" -cp "$jar" "$(dirname "${BASH_SOURCE[0]}")"/mended/io/grpc/*.java ||
    fail "the class that mends $jar does not go with it"
  is_running "$folder" && fail "an emulator is running in $folder already"
  # Somebody else may take a port before it does. One that was used before is used again, so that clients find it.
  for _ in {1..5}; do
    port=$(cat "$folder/port" 2>/dev/null || echo $((28000 + RANDOM % 4000)))
    answers "$port" && { rm -f "$folder/port"; continue; }
    nohup java -Xmx768m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "$@" -cp "$folder/mended:$jar" "$MAIN" --host=127.0.0.1 --port="$port" >>"$folder/log" 2>&1 </dev/null &
    echo $! >"$folder/pid"
    for _ in {1..600}; do
      is_running "$folder" || break
      if answers "$port"; then
        echo "$port" >"$folder/port"
        echo "127.0.0.1:$port"
        return
      fi
      sleep 0.1
    done
    end "$folder" KILL
    rm -f "$folder/port"
  done
  fail "the emulator did not answer; the last words in $folder/log: $(tail -n 5 "$folder/log")"
}

end() {
  local folder=$1 pid
  is_running "$folder" || return 0
  pid=$(cat "$folder/pid")
  kill "-$2" "$pid"
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$folder/pid"
}

case ${1:-} in
  find) find_jar ;;
  start) start "${2:?a folder}" "${@:3}" ;;
  stop) end "${2:?a folder}" TERM ;;
  kill) end "${2:?a folder}" KILL ;;
  *) fail "unknown command \`${1:-}\`; known are find, start, stop and kill" ;;
esac
