"""Quix Streams, from PyPI, with a batching sink of our own for Redis."""

import pathlib

from installing import python
from jobs import redis as redis_job

APPLICATION = pathlib.Path(__file__).parent / "quix/application.py"


def install():
    return python("quix", "quixstreams==3.28.1", "redis==8.1.0")


def redis(bench):
    def run(store):
        command = [install(), APPLICATION, bench.kafka.address, bench.topic("json"), bench.next("quix")]
        return bench.run([*command, store.uri, bench.messages], servers={"redis": store.pid})

    return redis_job.peer(bench, "Quix Streams, pipelines of 1,000", run)


JOBS = {"redis": redis}
