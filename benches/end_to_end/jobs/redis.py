"""Kafka → Redis: the newest value of ten features an entity. Beside it, what plain HSETs of the same fields cost Redis."""

import subprocess

TITLE = "Kafka → Redis, ten fields a message"
MARKS = "≤ 6.5 CPU-s per million (aim 4.5), Redis ≤ 2.2 × plain HSET; ≤ 128 MiB"


def rows(bench):
    yield bench.measured("redis-benchmark, plain HSET", lambda: plain(bench), servers=("redis",))
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape), servers=("redis",))


def plain(bench):
    """As many HSETs of fields as wide as ours, over as many keys. No time is compared, so the last to come wins."""
    redis = bench.start_redis()
    try:
        fields = []
        for number, width in enumerate(bench.WIDTHS):
            fields += [f"f{number}", "x" * width]
        command = ["redis-benchmark", "-p", redis.port, "-n", bench.messages, "-r", 200_000, "-P", 16, "-c", 8, "-q"]
        return bench.run([*command, "HSET", "prod/user/{u__rand_int__}", *fields], servers={"redis": redis.pid})
    finally:
        redis.stop()


def ours(bench, shape):
    redis = bench.start_redis()
    try:
        uri = f"redis://127.0.0.1:{redis.port}"
        measured = bench.run_writer("ONLINE_WRITER", shape, uri, servers={"redis": redis.pid})
        # Every entity, and the number of the layout.
        if (keys := int(redis.command("DBSIZE").lstrip(":"))) != bench.entities(shape) + 1:
            raise SystemExit(f"Redis has {keys} keys; expected {bench.entities(shape) + 1}")
        return measured
    finally:
        redis.stop()
