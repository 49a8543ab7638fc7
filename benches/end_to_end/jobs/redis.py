"""Kafka → Redis: the newest value of ten features an entity. Beside it, what plain HSETs of the same fields cost Redis."""

import itertools
import re

TITLE = "Kafka → Redis, ten fields a message"
MARKS = "≤ 6.5 CPU-s per million (aim 4.5), Redis ≤ 2.2 × plain HSET; ≤ 128 MiB"


def rows(bench):
    yield bench.measured("redis-benchmark, plain HSET", lambda: plain(bench), servers=("redis",))
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape), servers=("redis",))


def plain(bench):
    """As many HSETs of fields as wide as ours, over as many keys. No time is compared, so the last to come wins."""
    with bench.start_redis() as redis:
        fields = []
        for number, width in enumerate(bench.WIDTHS):
            fields += [f"f{number}", "x" * width]
        command = ["redis-benchmark", "-p", redis.port, "-n", bench.messages, "-r", 200_000, "-P", 16, "-c", 8, "-q"]
        return bench.run([*command, "HSET", "prod/user/{u__rand_int__}", *fields], servers={"redis": redis.pid})


def ours(bench, shape):
    with bench.start_redis() as redis:
        measured = bench.run_writer("ONLINE_WRITER", shape, redis.uri, servers={"redis": redis.pid})
        # Every entity, and the number of the layout.
        expect("keys", int(redis.ask("DBSIZE")[0]), bench.entities(shape) + 1)
        expect("users with an older value", older(bench, redis, "prod/user/{{{}}}", "f{}"), 0)
        return measured


def peer(bench, title, run, notes=""):
    """A row of another program: `run(redis)` does a HSET a result, of `user.f0` to `user.f9` under its id."""

    def once():
        with bench.start_redis() as redis:
            measured = run(redis)
            calls = re.search(rb"cmdstat_hset:calls=(\d+)", redis.ask("INFO commandstats")[0])
            expect("HSETs", calls and int(calls[1]), bench.messages)
            expect("keys", int(redis.ask("DBSIZE")[0]), bench.entities("json"))
            wrong = older(bench, redis, "{}", "user.f{}")
            measured.notes = f"compares no times: {wrong} users end on an older value{notes}"
            return measured

    return bench.measured(title, once, servers=("redis",))


def expect(what, found, expected):
    if found != expected:
        raise SystemExit(f"error: Redis has {found} {what}; expected {expected}")


def older(bench, redis, key, field):
    """How many users do not have the texts of their newest result. A value ends with its text, whatever goes before."""
    fields = [field.format(number) for number, kind in enumerate(bench.KINDS) if kind == "text"]
    users, wrong = iter(bench.newest().items()), 0
    while some := list(itertools.islice(users, 1000)):
        found = redis.ask(*(f"HMGET {key.format(user)} {' '.join(fields)}" for user, _ in some))
        for (_, texts), values in zip(some, found):
            wrong += not all(value and value.endswith(text.encode()) for text, value in zip(texts, values))
    return wrong
