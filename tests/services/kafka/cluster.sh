#!/usr/bin/env bash
# Runs three Apache Kafka brokers on 127.0.0.1, as people have them: TLS, signing in, three copies of everything.
#
#   cluster.sh start FOLDER        starts them, with everything in FOLDER, waits until all answer, and prints their
#                                  addresses as people write them, with spaces. Clients use SASL_SSL with SCRAM-SHA-512,
#                                  SCRAM-SHA-256 or PLAIN (user `writer`, password `right`), or with OAUTHBEARER and a
#                                  token for `kafka` of the issuer `https://issuer`, until that ends. Nine ports above
#                                  these they take SSL without signing in, from clients with a certificate of their own.
#                                  Before, there has to be FOLDER/server.pem, key and certificate of `localhost` and
#                                  127.0.0.1, FOLDER/jwks.json, the keys of that issuer, and FOLDER/clients.pem, who signs
#                                  certificates of clients
#   cluster.sh kill FOLDER N       kills broker N (1 to 3) as a power cut would
#   cluster.sh again FOLDER N      starts it again
#   cluster.sh stop FOLDER         kills all of them
#
# The jars are those of kafka.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CHALK_WRITER_CACHE:-$here/../../../.cache}
libs=$(echo "$cache"/kafka-*/libs)

fail() {
  echo "cluster.sh: $1" >&2
  exit 1
}

# The end of a log, for an error.
last_words() {
  printf '; the last words in %s:\n' "$1"
  tail -n 8 "$1"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of twelve free ports in a row: three for clients, three among brokers, three for controllers, three for
# clients with certificates.
free_ports() {
  local first port
  for _ in {1..50}; do
    # Below those that the system gives to outgoing connections.
    first=$((10000 + RANDOM % 5900))
    for ((port = first; port < first + 12; port++)); do
      answers "$port" && continue 2
    done
    echo "$first"
    return
  done
  fail "no twelve free ports in a row found"
}

configure() {
  local folder=$1 number=$2 first=$3
  mkdir -p "$folder/$number"
  cat >"$folder/$number/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$number
controller.quorum.voters=1@127.0.0.1:$((first + 6)),2@127.0.0.1:$((first + 7)),3@127.0.0.1:$((first + 8))
controller.listener.names=CONTROLLER
inter.broker.listener.name=AMONG
listeners=CLIENT://127.0.0.1:$((first + number - 1)),MUTUAL://127.0.0.1:$((first + number + 8)),AMONG://127.0.0.1:$((first + number + 2)),CONTROLLER://127.0.0.1:$((first + number + 5))
advertised.listeners=CLIENT://127.0.0.1:$((first + number - 1)),MUTUAL://127.0.0.1:$((first + number + 8)),AMONG://127.0.0.1:$((first + number + 2))
listener.security.protocol.map=CONTROLLER:PLAINTEXT,AMONG:PLAINTEXT,CLIENT:SASL_SSL,MUTUAL:SSL
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_writer="right";
listener.name.client.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.client.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.client.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://$folder/jwks.json
listener.name.client.oauthbearer.sasl.oauthbearer.expected.issuer=https://issuer
listener.name.client.oauthbearer.sasl.oauthbearer.expected.audience=kafka
listener.name.client.oauthbearer.connections.max.reauth.ms=3600000
listener.name.client.ssl.keystore.type=PEM
listener.name.client.ssl.keystore.location=$folder/server.pem
listener.name.mutual.ssl.keystore.type=PEM
listener.name.mutual.ssl.keystore.location=$folder/server.pem
listener.name.mutual.ssl.truststore.type=PEM
listener.name.mutual.ssl.truststore.location=$folder/clients.pem
listener.name.mutual.ssl.client.auth=required
log.dirs=$folder/$number/data
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
auto.create.topics.enable=false
PROPERTIES
}

run() {
  local folder=$1 number=$2
  # Brokers of tests live for minutes: what compiles them for days would take most of their time.
  nohup java -Xmx384m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.urls="file://$folder/jwks.json" \
    -Dorg.apache.kafka.sasl.oauthbearer.allowed.files="$folder/jwks.json" \
    -cp "$libs/*" \
    kafka.Kafka "$folder/$number/server.properties" >>"$folder/$number/log" 2>&1 </dev/null &
  echo $! >"$folder/$number/pid"
}

wait_for() {
  local folder=$1 number=$2 port
  port=$(sed -n 's|^listeners=CLIENT://127.0.0.1:\([0-9]*\).*|\1|p' "$folder/$number/server.properties")
  # On a busy machine it takes its time.
  for _ in {1..1800}; do
    kill -0 "$(cat "$folder/$number/pid")" 2>/dev/null || fail "broker $number ended at once$(last_words "$folder/$number/log")"
    answers "$port" && return
    sleep 0.1
  done
  fail "broker $number did not answer within three minutes$(last_words "$folder/$number/log")"
}

start() {
  local folder first id number
  "$here/kafka.sh" install
  libs=$(echo "$cache"/kafka-*/libs)
  folder=$(cd "$1" && pwd)
  first=$(free_ports)
  id=$(java -cp "$libs/*" kafka.tools.StorageTool random-uuid 2>/dev/null)
  for number in 1 2 3; do
    configure "$folder" "$number" "$first"
    java -cp "$libs/*" kafka.tools.StorageTool format -t "$id" -c "$folder/$number/server.properties" \
      --add-scram 'SCRAM-SHA-512=[name=writer,password=right]' --add-scram 'SCRAM-SHA-256=[name=writer,password=right]' \
      >>"$folder/$number/log" 2>&1 || fail "the folder of broker $number could not be formatted$(last_words "$folder/$number/log")"
  done
  for number in 1 2 3; do run "$folder" "$number"; done
  for number in 1 2 3; do wait_for "$folder" "$number"; done
  echo "127.0.0.1:$first, 127.0.0.1:$((first + 1)), 127.0.0.1:$((first + 2))"
}

end() {
  local pid
  pid=$(cat "$1/$2/pid" 2>/dev/null) || return 0
  kill -KILL "$pid" 2>/dev/null || true
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  rm -f "$1/$2/pid"
}

case ${1:-} in
  start) start "${2:?a folder}" ;;
  kill) end "${2:?a folder}" "${3:?which broker}" ;;
  again)
    run "$(cd "${2:?a folder}" && pwd)" "${3:?which broker}"
    wait_for "$(cd "$2" && pwd)" "$3"
    ;;
  stop) for number in 1 2 3; do end "${2:?a folder}" "$number"; done ;;
  *) fail "unknown command \`${1:-}\`; known are start, kill, again and stop" ;;
esac
