"""Bento, the fork of Redpanda Connect that the Go module proxy has: built from there on first use (needs Go)."""

import os
import pathlib
import re
import shutil
import subprocess
import urllib.request

import services

HERE = pathlib.Path(__file__).parent / "bento"

INPUT = """
input:
  kafka_franz:
    seed_brokers: ["{kafka}"]
    topics: ["{topic}"]
    consumer_group: "{group}"
    start_from_oldest: true
    checkpoint_limit: {limit}
    batching: {{count: {batch}, period: {period}}}
"""

PIPELINES = {
    # Decodes and projects; a result has one row of one table.
    "nothing": (
        "JSON decoded, dropped",
        dict(limit=8192, batch=1000, period="100ms"),
        'pipeline: {{threads: 2, processors: [{{mapping: "root.id = this.tables.0.rows.rows.0.id\\n'
        'root.features = this.tables.0.rows.rows.0.features"}}]}}\noutput: {{drop: {{}}}}\n',
    ),
    # The only way that it can send many HSETs in one round trip. It compares no times.
    "redis": (
        "redis_script, 500 messages a call, the last to come wins",
        dict(limit=8192, batch=500, period="100ms"),
        """
pipeline:
  threads: 4
  processors:
    - mapping: |
        root.k = this.tables.0.rows.rows.0.id
        root.a = this.tables.0.rows.rows.0.features.key_values().map_each(kv -> [kv.key, kv.value.string()]).flatten()
    - archive: {{format: json_array}}
    - redis_script:
        url: "{store}"
        script: |
          for i = 1, #KEYS do redis.call('HSET', KEYS[i], unpack(ARGV, (i-1)*20+1, i*20)) end
          return #KEYS
        keys_mapping: root = this.map_each(m -> m.k)
        args_mapping: root = this.map_each(m -> m.a).flatten()
output: {{drop: {{}}}}
""",
    ),
}


def program():
    """The built program, in the cache."""
    cache = pathlib.Path(os.environ.get("CHALK_WRITER_CACHE", services.ROOT / ".cache")) / "bento"
    if not (cache / "bento").exists():
        if not shutil.which("go"):
            raise SystemExit("the peer `bento` is built with Go, which is not installed")
        shutil.copytree(HERE, cache, dirs_exist_ok=True)
        for command in (["go", "mod", "tidy"], ["go", "build", "-p", "2", "-o", "bento", "."]):
            subprocess.run(command, cwd=cache, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return cache / "bento"


def rows(bench, job):
    if job not in PIPELINES:
        return []
    what, sizes, pipeline = PIPELINES[job]
    bento = program()
    servers = ("redis",) if job == "redis" else ()
    return [bench.measured(f"Bento, {what}", lambda: once(bench, bento, job, sizes, pipeline), servers=servers)]


def once(bench, bento, job, sizes, pipeline):
    redis = bench.start_redis() if job == "redis" else None
    port = services.free_port()
    store = f"redis://127.0.0.1:{redis.port}" if redis else ""
    bench.number += 1
    config = bench.folder / f"bento-{bench.number}.yaml"
    config.write_text(
        f'http: {{enabled: true, address: "127.0.0.1:{port}", root_path: /bento}}\nlogger: {{level: WARN}}\n'
        + "metrics: {prometheus: {}}\n"
        + INPUT.format(kafka=bench.kafka.address, topic=bench.topic("json"), group=f"bento-{bench.number}", **sizes)
        + pipeline.format(store=store)
    )
    looks = iter(range(1 << 40))

    def done(_pid):
        # It never ends by itself: five times a second it is asked how much it has done.
        if next(looks) % 10:
            return False
        # Where many messages are made into one, only the input tells how far it is.
        counter = "input_received" if job == "redis" else "output_sent"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/bento/metrics", timeout=1) as answer:
                sent = re.search(rf"^{counter}\S* (\S+)", answer.read().decode(), re.MULTILINE)
        except OSError:
            return False
        return sent is not None and float(sent[1]) >= bench.messages

    try:
        return bench.run([bento, "-c", config], until=done, servers={"redis": redis.pid} if redis else None)
    finally:
        if redis:
            redis.stop()
