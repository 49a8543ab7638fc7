"""Bento, the fork of Redpanda Connect that the Go module proxy has: built from there on first use (needs Go)."""

import json
import pathlib
import re
import urllib.request

import services
from installing import installed
from jobs import lake as lake_job
from jobs import postgres as postgres_job
from jobs import redis as redis_job

HERE = pathlib.Path(__file__).parent / "bento"
# A result has one row of one table.
ROW = "this.tables.0.rows.rows.0"
PARQUET = {"int": "INT64", "double": "DOUBLE", "text": "UTF8"}
# Where many messages are made into one, it is done when its first processor has had them all; ending writes the rest.
TAKEN, SENT = "processor_received", "output_sent"


def install():
    build = ["env", "CGO_ENABLED=0", "go", "build", "-p", "2", "-o", "bento", "."]
    return installed("bento", ["go", "mod", "tidy"], build, sources=[HERE / "go.mod", HERE / "main.go"]) / "bento"


def nothing(bench):
    mapping = {"mapping": f"root.id = {ROW}.id\nroot.features = {ROW}.features"}
    pipeline = {"threads": 2, "processors": [mapping]}
    return bench.measured("Bento, JSON decoded, dropped", lambda: once(bench, SENT, pipeline, {"drop": {}}))


def redis(bench):
    """A script is the only way that it can send many HSETs in one round trip."""
    mapping = (
        f"root.k = {ROW}.id\n"
        f"root.a = {ROW}.features.key_values().map_each(kv -> [kv.key, kv.value.string()]).flatten()"
    )
    script = {
        "script": "for i = 1, #KEYS do redis.call('HSET', KEYS[i], unpack(ARGV, (i-1)*20+1, i*20)) end return #KEYS",
        "keys_mapping": "root = this.map_each(m -> m.k)",
        "args_mapping": "root = this.map_each(m -> m.a).flatten()",
    }

    def run(store):
        steps = [{"mapping": mapping}, {"archive": {"format": "json_array"}}]
        steps.append({"redis_script": {"url": store.uri, **script}})
        servers = {"redis": store.pid}
        return once(bench, TAKEN, {"threads": 4, "processors": steps}, {"drop": {}}, batch=500, servers=servers)

    return redis_job.peer(bench, "Bento, redis_script of 500 messages", run)


def lake(bench):
    fields = {"id": ("this.operation_id", "text"), "environment_id": ("this.environment_id", "text")}
    fields |= {"ts": ("this.observed_at", "text"), "pkey": (f"{ROW}.id", "text")}
    fields |= {f"f{number}": (f'{ROW}.features."user.f{number}"', kind) for number, kind in enumerate(bench.KINDS)}
    mapping = "\n".join(f"root.{name} = {value}" for name, (value, _) in fields.items())
    schema = [{"name": name, "type": PARQUET[kind]} for name, (_, kind) in fields.items()]

    def run(folder):
        steps = [{"mapping": mapping}, {"parquet_encode": {"default_compression": "zstd", "schema": schema}}]
        output = {"file": {"path": f"{folder}/${{! uuid_v4() }}.parquet", "codec": "all-bytes"}}
        return once(bench, TAKEN, {"threads": 2, "processors": steps}, output, batch=20_000, limit=200_000)

    return lake_job.peer(bench, "Bento, files of up to 20,000 rows", run, "times are text")


def postgres(bench):
    features = [f'{ROW}.features."user.f{number}"' for number in range(len(bench.KINDS))]
    values = ["this.operation_id", "this.observed_at", f"{ROW}.id", *features]
    insert = {
        "driver": "postgres",
        "table": "results",
        "columns": list(postgres_job.columns(bench)),
        "args_mapping": f"root = [{', '.join(values)}]",
        "max_in_flight": 4,
        "conn_max_idle": 4,
    }

    def run(store):
        output = {"sql_insert": {"dsn": f"{store.uri}?sslmode=disable", **insert}}
        return once(bench, SENT, {"threads": 2, "processors": []}, output, servers={"postgres": store.pid})

    return postgres_job.peer(bench, "Bento, sql_insert of 1,000 rows", run, "what is read twice is there twice")


JOBS = {"nothing": nothing, "redis": redis, "lake": lake, "postgres": postgres}


def once(bench, counter, pipeline, output, batch=1000, limit=8192, servers=None):
    port = services.free_port()
    name = bench.next("bento")
    source = {
        "seed_brokers": [bench.kafka.address],
        "topics": [bench.topic("json")],
        "consumer_group": name,
        "start_from_oldest": True,
        "checkpoint_limit": limit,
        "batching": {"count": batch, "period": "1s" if batch > 1000 else "100ms"},
    }
    config = {
        "http": {"enabled": True, "address": f"127.0.0.1:{port}", "root_path": "/bento"},
        "logger": {"level": "WARN"},
        "metrics": {"prometheus": {}},
        "input": {"kafka_franz": source},
        "pipeline": pipeline,
        "output": output,
    }
    # JSON is YAML.
    path = bench.folder / f"{name}.yaml"
    path.write_text(json.dumps(config))
    looks = iter(range(1 << 40))

    def done(_pid):
        # It never ends by itself: five times a second it is asked how much it has done.
        if next(looks) % 10:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/bento/metrics", timeout=1) as answer:
                sent = re.search(rf"^{counter}\S* (\S+)", answer.read().decode(), re.MULTILINE)
        except OSError:
            return False
        return sent is not None and float(sent[1]) >= bench.messages

    return bench.run([install(), "-c", path], until=done, servers=servers)
