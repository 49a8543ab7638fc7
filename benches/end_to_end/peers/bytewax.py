"""Bytewax, from PyPI, with a sink of our own for Redis: it comes with none."""

import pathlib

from installing import python
from jobs import redis as redis_job

FLOW = pathlib.Path(__file__).parent / "bytewax/flow.py"


def install():
    return python("bytewax", "bytewax[kafka]==0.21.1", "redis==8.1.0", "orjson==3.13.0")


def redis(bench):
    def run(store):
        flow = f"{FLOW}:flow('{bench.kafka.address}', '{bench.topic('json')}', '{store.uri}')"
        return bench.run([install(), "-m", "bytewax.run", flow], servers={"redis": store.pid})

    return redis_job.peer(bench, "Bytewax, pipelines of 1,000", run, "; joins no group and commits no offsets")


JOBS = {"redis": redis}
