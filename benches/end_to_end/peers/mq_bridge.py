"""mq-bridge, a Rust program with a Python interface, from PyPI."""

import json

from installing import python
from jobs import lake as lake_job
from jobs import postgres as postgres_job

PROGRAM = "import mq_bridge, sys; mq_bridge.Route.from_file(sys.argv[1], 'results').run()"


def install():
    return python("mq_bridge", "mq-bridge==1.2.0")


def lake(bench):
    def run(folder):
        output = {"object_store": {"url": f"file://{folder}", "format": "parquet", "compression": "zstd"}}
        return once(bench, output, batch=100_000)

    return lake_job.peer(bench, "mq-bridge, files of up to 100,000 rows", run, "flat JSON, times are text")


def postgres(bench):
    columns = postgres_job.columns(bench)
    values = ", ".join(f"${{payload:{name}}}" for name in columns)
    insert = f"INSERT INTO results ({', '.join(columns)}) VALUES ({values})"

    def run(store):
        output = {"sqlx": {"url": store.uri, "table": "results", "insert_query": insert, "bulk_copy": True}}
        return once(bench, output, batch=1000, servers={"postgres": store.pid})

    notes = "flat JSON; what is read twice is there twice"
    return postgres_job.peer(bench, "mq-bridge, COPY of 1,000 rows", run, notes)


JOBS = {"lake": lake, "postgres": postgres}


def once(bench, output, batch, servers=None):
    """It takes columns from plain objects only, so that its topic has those; it ends when that is empty."""
    name = bench.next("mq-bridge")
    source = {"url": bench.kafka.address, "topic": bench.topic("flat"), "group_id": name}
    source["consumer_options"] = [["auto.offset.reset", "earliest"]]
    route = {"input": {"kafka": source}, "output": output, "batch_size": batch, "exit_on_empty": True}
    path = bench.folder / f"{name}.json"
    path.write_text(json.dumps({"routes": {"results": route}}))
    return bench.run([install(), "-c", PROGRAM, path], servers=servers)
