#!/usr/bin/env bash
# Installs and runs one Apache Kafka broker on 127.0.0.1 for tests.
#
#   kafka.sh install           fetches the broker's jars into the cache, unless they are there
#   kafka.sh start FOLDER      starts a broker that keeps everything in FOLDER, waits until it answers,
#                              and prints its address; in a folder that was used before it goes on there.
#                              FOLDER/sasl-port is the port for SASL_PLAINTEXT with SCRAM-SHA-512, user
#                              `writer` with password `right`. With KAFKA_PROXY_PORT set, FOLDER/proxied-port is
#                              the port for a proxy: who comes through it is told to come back to KAFKA_PROXY_PORT.
#                              With KAFKA_SESSIONS_MS set, who has signed in has to do it again after so long
#   kafka.sh password FOLDER PASSWORD   gives `writer` another password
#   kafka.sh stop FOLDER       stops it in order
#   kafka.sh kill FOLDER       kills it as a power cut would
#
# The cache is $CHALK_WRITER_CACHE, by default `.cache` in the repository. Needs `mvn` and a JDK of 17 or later.
set -euo pipefail

version=4.1.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CHALK_WRITER_CACHE:-$here/../../../.cache}
libs=$cache/kafka-$version/libs

fail() {
  echo "kafka.sh: $1" >&2
  exit 1
}

# The end of a log, for an error.
last_words() {
  printf '; the last words in %s:\n' "$1"
  tail -n 8 "$1"
}

install_jars() {
  [[ -e $libs/.complete ]] && return
  command -v java >/dev/null || fail "no \`java\` found; install a JDK of 17 or later"
  command -v mvn >/dev/null || fail "no \`mvn\` found; install Apache Maven"
  mkdir -p "$libs"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs" >&2 \
    || fail "the jars of Kafka $version could not be fetched"
  touch "$libs/.complete"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port among others: 4,000 below it, and 4,000 and 8,000 above.
free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 4000))
    if ! answers "$port" && ! answers $((port - 4000)) && ! answers $((port + 4000)) && ! answers $((port + 8000)); then
      echo "$port"
      return
    fi
  done
  fail "no free port found"
}

configure() {
  local folder=$1 clients sasl controller proxied=""
  clients=$(free_port)
  sasl=$((clients + 4000))
  controller=$((clients + 8000))
  echo "$clients" >"$folder/port"
  echo "$sasl" >"$folder/sasl-port"
  if [[ -n ${KAFKA_PROXY_PORT:-} ]]; then
    proxied=$((clients - 4000))
    echo "$proxied" >"$folder/proxied-port"
  fi
  cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$clients,SASL://127.0.0.1:$sasl,CONTROLLER://127.0.0.1:$controller${proxied:+,PROXIED://127.0.0.1:$proxied}
advertised.listeners=PLAINTEXT://127.0.0.1:$clients,SASL://127.0.0.1:$sasl${proxied:+,PROXIED://127.0.0.1:$KAFKA_PROXY_PORT}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,PROXIED:PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=$folder/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
group.consumer.session.timeout.ms=6000
auto.create.topics.enable=false
PROPERTIES
  if [[ -n ${KAFKA_SESSIONS_MS:-} ]]; then
    echo "connections.max.reauth.ms=$KAFKA_SESSIONS_MS" >>"$folder/server.properties"
  fi
  local id
  id=$(java -cp "$libs/*" kafka.tools.StorageTool random-uuid 2>>"$folder/log")
  java -cp "$libs/*" kafka.tools.StorageTool format --standalone -t "$id" -c "$folder/server.properties" \
    --add-scram 'SCRAM-SHA-512=[name=writer,password=right]' >>"$folder/log" 2>&1 || fail "the folder could not be formatted$(last_words "$folder/log")"
}

is_running() { [[ -e $1/pid ]] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

start() {
  local folder=$1
  install_jars
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  is_running "$folder" && fail "a broker is running in $folder already"
  if [[ ! -e $folder/server.properties ]]; then
    # Somebody else may take a port before the broker does.
    for _ in {1..5}; do
      configure "$folder"
      run "$folder" && return
      grep -q "Address already in use" "$folder/log" || break
      rm -rf "$folder/data"
    done
    fail "the broker ended at once$(last_words "$folder/log")"
  fi
  run "$folder" || fail "the broker ended at once$(last_words "$folder/log")"
}

# Runs a broker until it answers, and prints its address; fails where it ends.
run() {
  local folder=$1 port
  port=$(cat "$folder/port")
  # Brokers of tests live for minutes: what compiles them for days would take most of their time.
  nohup java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" \
    kafka.Kafka "$folder/server.properties" >>"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
  # On a busy machine it takes its time.
  for _ in {1..1800}; do
    is_running "$folder" || return 1
    if answers "$port"; then
      echo "127.0.0.1:$port"
      return
    fi
    sleep 0.1
  done
  end "$folder" KILL
  fail "the broker did not answer within three minutes$(last_words "$folder/log")"
}

end() {
  local folder=$1 signal=$2 pid
  is_running "$folder" || return 0
  pid=$(cat "$folder/pid")
  kill "-$signal" "$pid"
  for _ in {1..300}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$folder/pid"
}

password() {
  java -cp "$libs/*" kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$(cat "$1/port")" --alter \
    --entity-type users --entity-name writer --add-config "SCRAM-SHA-512=[password=$2]" >>"$1/log" 2>&1 \
    || fail "the password could not be changed; see $1/log"
}

case ${1:-} in
  install) install_jars ;;
  start) start "${2:?a folder}" ;;
  stop) end "${2:?a folder}" TERM ;;
  kill) end "${2:?a folder}" KILL ;;
  password) password "${2:?a folder}" "${3:?a password}" ;;
  *) fail "unknown command \`${1:-}\`; known are install, start, password, stop and kill" ;;
esac
