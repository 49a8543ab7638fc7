"""usage: application.py BROKER TOPIC GROUP REDIS N: the first N results of a topic into hashes of Redis."""

import sys

import redis
from quixstreams import Application
from quixstreams.sinks.base import BatchingSink

broker, topic, group, uri, count = sys.argv[1:]


class Hashes(BatchingSink):
    def __init__(self):
        super().__init__()
        self.redis = redis.Redis.from_url(uri)

    def write(self, batch):
        for chunk in batch.iter_chunks(1000):
            pipeline = self.redis.pipeline(transaction=False)
            for message in chunk:
                row = message.value["tables"][0]["rows"]["rows"][0]
                pipeline.hset(row["id"], mapping=row["features"])
            pipeline.execute()


application = Application(
    broker_address=broker,
    consumer_group=group,
    auto_offset_reset="earliest",
    loglevel="WARNING",
    commit_interval=1.0,
    commit_every=20_000,
)
application.dataframe(application.topic(topic, value_deserializer="json")).sink(Hashes())
application.run(count=int(count), collect=False)
