"""Google Pub/Sub → nothing. Beside it, Google's own client, which acknowledges each message at once and only counts.

Each run has a subscription of its own, in which the whole backlog waits when it begins. Google's emulator gives a few
thousand messages a second, fewer the more wait, so a server of the bench tool's gives the million, and the emulator some.
"""

import json
import subprocess

from services import PUBSUB, Pubsub, Store

TITLE = "Google Pub/Sub → nothing, acknowledged"
MARKS = "CPU time ≤ 2 × that of Google's client, which only counts; ≤ 96 MiB"
ONLY_IF_ASKED = True

STREAMS = 16
# Messages that the emulator has.
FEW = 100_000
# Seconds of silence after which everything is read.
IDLE = 5


class Server(Store):
    """The bench tool's: a backlog of results of one shape in every subscription that anybody names."""

    def __init__(self, bench, shape):
        command = [bench.tool, "pubsub", "serve", str(bench.messages), shape]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.address = self.process.stdout.readline().strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


def check():
    """Whether the emulator is installed, which no package of Debian has."""
    if subprocess.run([PUBSUB, "find"], stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit("error: the job `pubsub` needs Google's emulator")


def rows(bench):
    for shape in ("json", "protobuf"):
        with Server(bench, shape) as server:
            yield from pair(bench, server, shape, bench.messages)
    for shape in ("json", "protobuf"):
        with Pubsub(bench.folder / bench.next("pubsub")) as emulator:
            few = min(FEW, bench.messages)
            fill(bench, emulator, shape, few)
            yield from pair(bench, emulator, f"{shape}, {few:,} on the emulator", few)


def subscriptions(bench, reader):
    return [f"{reader}-{number}" for number in range(bench.rounds)]


def fill(bench, emulator, shape, messages):
    """A subscription gets what is published after it was made, so all are made before."""

    def tool(command, *words):
        words = [bench.tool, "pubsub", command, emulator.address, *words]
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)

    tool("make", "results", *subscriptions(bench, "counted"), *subscriptions(bench, "written"))
    tool("make", "dead-letters")
    tool("produce", "results", messages, shape)


def pair(bench, server, title, messages):
    """What Google's client takes and what the writer takes, of the same server."""
    servers = {"pubsub": server.pid}
    counted, written = subscriptions(bench, "counted"), subscriptions(bench, "written")

    def count():
        command = [bench.tool, "pubsub", "count", server.address, counted.pop(), messages, STREAMS]
        return bench.run(command, servers=servers)

    def write():
        config = configuration(bench, server, written.pop())
        measured = bench.drain("ONLINE_WRITER", config, servers, messages)
        measured.seconds -= IDLE
        return measured

    yield bench.measured(f"Google's client, {title}", count, servers, messages)
    yield bench.measured(f"chalk-writer, {title}", write, servers, messages)


def configuration(bench, server, subscription):
    config = {
        "common_persistence_specs": {
            "bus_backend": "PUBSUB",
            "google_cloud_project": "bench",
            "result_bus_online_store_subscription_id": subscription,
            "kafka_dlq_topic": "dead-letters",
        },
        "pubsub_emulator_host": server.address,
        "pubsub": {"streams": STREAMS, "drain_idle": f"{IDLE}s"},
        "environments": {"prod": {"online_store": {"uri": "blackhole:"}}},
        "writers": [{"bus_subscriber_type": "ONLINE_WRITER"}],
    }
    path = bench.folder / f"{bench.next('bench')}.json"
    path.write_text(json.dumps(config, indent=2))
    return path
