"""Many writers of one group: what a message costs then, and what restarting all of them one after the other costs."""

import contextlib
import json
import os
import subprocess
import time
import urllib.request

from services import free_port

TITLE = "Scale: 64 partitions, 8 writers"
MARKS = "a message costs what it costs one writer of 4 partitions; a restart of all of them reads next to nothing twice"
ONLY_IF_ASKED = True

PARTITIONS, WRITERS = 64, 8
A_SECOND = 20_000
# How long a writer may take to be ready, or to stop.
PATIENCE = 60


class Writer:
    """A process, and what it used once it has ended."""

    def __init__(self, bench, config, *more):
        self.port = free_port()
        self.log = bench.folder / bench.next("log")
        command = [bench.program, "--type", "ONLINE_WRITER", "--config", config, "--log-format", "json"]
        command += ["--listen", f"127.0.0.1:{self.port}", *more]
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.STDOUT)

    def ready(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz") as answer:
                if answer.status == 200:
                    return
            if time.monotonic() > deadline:
                raise SystemExit(f"a writer did not become ready: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def ended(self):
        """CPU-seconds, peak MiB, and the messages that it dealt with."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        text = self.log.read_text()
        if self.process.returncode != 0:
            raise SystemExit(f"a writer ended with {self.process.returncode}: {text[-2000:]}")
        last = json.loads(text.strip().splitlines()[-1])
        last = last.get("fields", last)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, last["acknowledged"]

    def stop(self):
        self.process.terminate()
        return self.ended()


def rows(bench):
    yield bench.writer("ONLINE_WRITER", "1 writer of 4 partitions", "protobuf", "blackhole:")
    bench.make_topic("many", PARTITIONS)
    bench.tool_output("produce", "many", bench.messages, "protobuf")
    bench.tool_output("count", "many", bench.messages)
    yield together(bench)
    for static in (False, True):
        yield restarted(bench, static)


def configured(bench, topic, group, instance=None):
    path = bench.configuration("ONLINE_WRITER", "protobuf", "blackhole:", topic=topic)
    config = json.loads(path.read_text())
    config["writers"][0]["kafka_consumer_group_override"] = group
    if instance is not None:
        config["kafka"] = {"group.instance.id": f"{group}-{instance}"}
    path.write_text(json.dumps(config, indent=2))
    return path


def together(bench):
    costs, times, peaks = [], [], []
    for _ in range(bench.rounds):
        config = configured(bench, "many", bench.next("together"))
        begun = time.monotonic()
        writers = [Writer(bench, config, "--drain") for _ in range(WRITERS)]
        ended = [writer.ended() for writer in writers]
        times.append(time.monotonic() - begun)
        costs.append(sum(cpu for cpu, *_ in ended) / bench.messages * 1e6)
        peaks.append(max(peak for _, peak, _ in ended))
        dealt = sum(acknowledged for *_, acknowledged in ended)
        bench.note(f"8 writers: {costs[-1]:.2f} CPU-s per million, {dealt - bench.messages} messages twice")
    middle = sorted(costs)[len(costs) // 2]
    return [
        f"{WRITERS} writers of {PARTITIONS} partitions, together",
        f"{bench.messages / sorted(times)[len(times) // 2] / 1000:,.0f} k",
        f"**{middle:.2f}** ({min(costs):.2f}–{max(costs):.2f})",
        f"{max(peaks):.0f} each",
        "–",
        f"{dealt - bench.messages} messages dealt with twice in the last round; starting and leaving included",
    ]


def restarted(bench, static):
    """All writers one after the other, under load."""
    topic, group = bench.next("rolling"), bench.next("rolling")
    bench.make_topic(topic, PARTITIONS)
    total = bench.seconds * A_SECOND
    words = [bench.tool, "produce", bench.kafka.address, topic, total, "protobuf", A_SECOND]
    configs = [configured(bench, topic, group, number if static else None) for number in range(WRITERS)]
    writers = [Writer(bench, config) for config in configs]
    producer = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    try:
        for writer in writers:
            writer.ready()
        time.sleep(5)
        dealt, cpu, begun = 0, 0, time.monotonic()
        for number, config in enumerate(configs):
            used, _, acknowledged = writers[number].stop()
            cpu, dealt = cpu + used, dealt + acknowledged
            writers[number] = Writer(bench, config)
            writers[number].ready()
        took = time.monotonic() - begun
        if producer.poll() is not None:
            raise SystemExit("the load ended before the restart did; give more --seconds")
        producer.wait()
        # Whoever is asked to stop leaves what it has not read yet to one that drains.
        ended = [writer.stop() for writer in writers]
        ended.append(Writer(bench, configs[0], "--drain").ended())
    finally:
        producer.kill()
        producer.wait()
        for writer in writers:
            writer.process.kill()
    cpu += sum(used for used, *_ in ended)
    dealt += sum(acknowledged for *_, acknowledged in ended)
    how = "static members" if static else "members that leave and join"
    bench.note(f"{how}: {took:.1f} s, {dealt - total} of {total} messages twice")
    return [
        f"all {WRITERS} restarted one after the other, {how}",
        f"{A_SECOND / 1000:,.0f} k",
        f"**{cpu / total * 1e6:.2f}**",
        f"{max(peak for _, peak, _ in ended):.0f} each",
        "–",
        f"{took:.1f} s for all; {dealt - total:,} of {total:,} messages dealt with twice",
    ]
