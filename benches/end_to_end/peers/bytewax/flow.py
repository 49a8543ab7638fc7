"""A topic of results into hashes of Redis, a pipeline a batch, until the topic's end."""

import bytewax.operators as op
import orjson
import redis
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition


class Hashes(StatelessSinkPartition):
    def __init__(self, uri):
        self.redis = redis.Redis.from_url(uri)

    def write_batch(self, messages):
        pipeline = self.redis.pipeline(transaction=False)
        for message in messages:
            row = orjson.loads(message.value)["tables"][0]["rows"]["rows"][0]
            pipeline.hset(row["id"], mapping=row["features"])
        pipeline.execute()


class Sink(DynamicSink):
    def __init__(self, uri):
        self.uri = uri

    def build(self, _step, _worker, _workers):
        return Hashes(self.uri)


def flow(broker, topic, uri):
    dataflow = Dataflow("results")
    messages = op.input("results", dataflow, KafkaSource([broker], [topic], tail=False, batch_size=1000))
    op.output("hashes", messages, Sink(uri))
    return dataflow
