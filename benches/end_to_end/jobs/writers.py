"""Every writer's path: made-up messages of what it reads, on Kafka, to where it writes.

Messages differ by a hundred times in what they hold, so rows are counted too: what the writer itself says that it has
stored or published.
"""

import contextlib
import http.server
import json
import subprocess
import threading

import measure
from postgres_server import Postgres

TITLE = "Every writer's path"
MARKS = "what each costs; the raw consumer reads the same topic and does nothing"

# Fields of the configuration that name topics, for each type.
TOPICS = {
    "METRICS_WRITER": ("result_bus_topic_id", "metrics_bus_topic_id"),
    "METRICS_BUS_WRITER": ("metrics_bus_topic_id", None),
    "OFFLINE_WRITER": ("result_bus_topic_id", "bigquery_streaming_write_topic"),
    "OFFLINE_STORE_STREAMING_INSERT_WRITER": ("bigquery_streaming_write_topic", None),
    "OFFLINE_STORE_BULK_INSERT_WRITER": ("bq_upload_topic", None),
    "USAGE_BUS_WRITER": ("usage_bus_topic_id", None),
    "QUERY_MIRROR_CONSUMER": ("query_log_subscription_id", "query_log_result_topic"),
    "ONLINE_VECTOR_STORE_WRITER": ("vector_store_subscription_id", None),
}
STORES = {
    "METRICS_BUS_WRITER": "metrics_store",
    "OFFLINE_STORE_STREAMING_INSERT_WRITER": "offline_store",
    "OFFLINE_STORE_BULK_INSERT_WRITER": "offline_store",
    "OFFLINE_WRITER": "offline_store",
    "USAGE_BUS_WRITER": "usage_store",
    "ONLINE_VECTOR_STORE_WRITER": "vector_store",
}
# What is published, and how many of it where `--messages` is a million.
PATHS = [
    ("METRICS_WRITER", "result", 200_000, "topic", {}),
    ("METRICS_BUS_WRITER", "metrics", 100_000, "sqlite", {}),
    ("METRICS_BUS_WRITER", "metrics", 100_000, "postgres", {}),
    ("OFFLINE_WRITER", "result", 200_000, "lake", {"offline_mode": "republish"}),
    ("OFFLINE_STORE_STREAMING_INSERT_WRITER", "streaming-insert", 100_000, "lake", {}),
    ("OFFLINE_STORE_STREAMING_INSERT_WRITER", "streaming-insert", 100_000, "postgres", {}),
    ("OFFLINE_STORE_BULK_INSERT_WRITER", "bulk-insert", 2_000, "lake", {}),
    ("OFFLINE_STORE_BULK_INSERT_WRITER", "bulk-insert", 2_000, "postgres", {}),
    ("USAGE_BUS_WRITER", "usage", 200_000, "sqlite", {}),
    ("USAGE_BUS_WRITER", "usage", 200_000, "postgres", {}),
    ("USAGE_BUS_WRITER", "usage", 200_000, "lake", {}),
    ("ONLINE_VECTOR_STORE_WRITER", "vectors", 20_000, "sqlite", {}),
    ("ONLINE_VECTOR_STORE_WRITER", "vectors", 20_000, "postgres", {}),
    ("QUERY_MIRROR_CONSUMER", "query-log", 20_000, "topic", {"mirror": {"max_age": "1000000h", "deadline": "10s"}}),
]


class Api(http.server.ThreadingHTTPServer):
    """Answers every query at once, with nothing."""

    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            body = b'{"data": [], "errors": []}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


def published(bench, writer, kind, messages):
    """The topic with so many messages of a kind, made when it is first asked for."""
    known = bench.__dict__.setdefault("made_up", {})
    if (kind, messages) not in known:
        topic = bench.next(f"made-{kind}")
        bench.make_topic(topic)
        # Any store that may be configured: publishing opens none.
        unused = f"{'file' if STORES.get(writer) == 'offline_store' else 'sqlite'}://{bench.folder}/unused"
        config = configuration(bench, writer, topic, unused, {})
        command = [bench.program, "publish", "--config", config, "--topic", topic, "--generate", messages]
        # Of now: the retention of a topic is past the day that is made up otherwise.
        command += ["--what", kind, "--entities", 20_000, "--start", "1m"]
        if kind != "streaming-insert":
            command += ["--encoding", "protobuf"]
        if kind == "bulk-insert":
            command += ["--files", bench.folder / "bulk"]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        known[kind, messages] = topic
    return known[kind, messages]


def configuration(bench, writer, topic, uri, more):
    name = bench.next("writer")
    reads, publishes = TOPICS[writer]
    common = {"bus_backend": "KAFKA", "kafka_dlq_topic": "dead-letters"}
    entry = {"bus_subscriber_type": writer, "kafka_consumer_group_override": name, **more}
    common[reads] = topic
    if publishes:
        common[publishes] = f"{name}-out"
        bench.make_topic(common[publishes])
    config = {
        "common_persistence_specs": common,
        "kafka_bootstrap_servers": bench.kafka.address,
        "kafka_security_protocol": "PLAINTEXT",
        "environments": {"prod": {STORES[writer]: {"uri": uri}} if writer in STORES else {}},
        "writers": [entry],
    }
    if writer == "QUERY_MIRROR_CONSUMER":
        config["api_server_host"] = bench.api
    path = bench.folder / f"{name}.json"
    path.write_text(json.dumps(config, indent=2))
    return path


def rows(bench):
    api = Api(("127.0.0.1", 0), Api.Handler)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    bench.api = f"http://127.0.0.1:{api.server_port}"
    raw, all_messages = set(), bench.messages
    try:
        for writer, kind, messages, to, more in PATHS:
            bench.messages = max(1, messages * all_messages // 1_000_000)
            topic = published(bench, writer, kind, bench.messages)
            if kind not in raw:
                raw.add(kind)
                count = [bench.tool, "count", bench.kafka.address, topic, bench.messages]
                yield bench.measured(f"raw consumer, {kind}", lambda count=count: bench.run(count))
            yield path(bench, writer, topic, to, more)
    finally:
        bench.messages = all_messages
        api.shutdown()


def path(bench, writer, topic, to, more):
    def once():
        folder = bench.folder / bench.next("store")
        folder.mkdir()
        uri, servers = {"sqlite": f"sqlite://{folder}/store.db", "lake": f"file://{folder}/lake"}.get(to), {}
        with contextlib.ExitStack() as stack:
            if to == "postgres":
                server = stack.enter_context(Postgres(bench))
                # What only its administrator may do; see docs/writers/vectors.md.
                server.sql("CREATE EXTENSION vector")
                uri, servers = server.uri, {"postgres": server.pid}
            config = configuration(bench, writer, topic, uri, more)
            command = [bench.program, "--type", writer, "--config", config, "--drain", "--listen", "127.0.0.1:0"]
            run = bench.run(command, servers=servers)
        last = json.loads(run.output.strip().splitlines()[-1])
        last = last.get("fields", last)
        if last["acknowledged"] != bench.messages or last["buried"] != 0:
            raise measure.Failed(f"not everything was written: {last}")
        stored = last["stored"]
        run.notes = f"{stored / bench.messages:.1f} rows a message, {stored / run.seconds / 1000:,.0f} k rows/s"
        run.notes += f", {run.cpu / stored * 1e6:.2f} CPU-s per million rows" if stored else ""
        return run

    mode = " (republish)" if more.get("offline_mode") else ""
    return bench.measured(f"{writer}{mode} → {to}", once, ["postgres"] if to == "postgres" else ())
