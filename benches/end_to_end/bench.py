#!/usr/bin/env python3
"""End to end: a million results through Kafka into each store, measured beside what it is compared with.

Usage: bench.py [JOB…] [--messages N] [--rounds N] [--peers NAME,…] [--seconds N]

Prints a table in Markdown: per row the median of the rounds, with the smallest and largest CPU time. Everything is
started here, in a temporary folder, and stopped at the end. Jobs are the files in `jobs`, peers those in `peers`.
"""

import argparse
import datetime
import importlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure
from services import ROOT, Kafka, Redis

PARTITIONS = 4
HERE = pathlib.Path(__file__).parent


def names(folder):
    return sorted(file.stem for file in (HERE / folder).glob("*.py") if file.stem != "__init__")


def name_of(module):
    return module.__name__.rpartition(".")[2]


class Bench:
    """What jobs measure with."""

    # The features f0 to f9.
    KINDS = ["int", "double", "text", "int", "double", "text", "int", "double", "text", "int"]
    # Bytes of the stored values of a result: two times before each, then MessagePack.
    WIDTHS = [16 + width for width in (5, 9, 13, 5, 9, 42, 9, 9, 202, 1)]

    def __init__(self, arguments, folder):
        self.folder = folder
        self.messages = arguments.messages
        self.rounds = arguments.rounds
        self.seconds = arguments.seconds
        self.program, self.tool = arguments.programs / "chalk-writer", arguments.programs / "examples/bench-tool"
        self.kafka = Kafka(folder / "kafka")
        self.topics, self.number = {}, 0
        self.make_topic("dead-letters", 1)

    def next(self, name):
        """A name that nothing else in this run has."""
        self.number += 1
        return f"{name}-{self.number}"

    def note(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    # --- input --------------------------------------------------------------------------------

    def make_topic(self, name, partitions=PARTITIONS):
        subprocess.run([self.tool, "topic", self.kafka.address, name, str(partitions)], check=True)

    def topic(self, shape):
        """The topic with results of a shape, made when it is first asked for."""
        if shape not in self.topics:
            name = f"results-{shape}"
            self.make_topic(name)
            produced = self.tool_output("produce", name, self.messages, shape)
            self.note(f"{self.messages} results as {shape}, {produced['mean_bytes']} bytes each")
            # Once read, so that no run is the one that finds a cold broker.
            counted = self.tool_output("count", name, self.messages)
            self.topics[shape] = {"name": name, **produced, "bytes": counted["bytes"]}
        return self.topics[shape]["name"]

    def tool_output(self, command, topic, *rest):
        words = [self.tool, command, self.kafka.address, topic, *rest]
        done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    def newest(self):
        """By user: the texts of the newest result."""
        command = [self.tool, "newest", str(self.messages)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return {user: texts for user, *texts in (line.split() for line in done.stdout.splitlines())}

    def entities(self, shape):
        """How many users the results of a shape are about."""
        return self.topics[shape]["entities"]

    def bytes(self, shape):
        """How long the results of a shape are together."""
        return self.topics[shape]["bytes"]

    # --- measuring ----------------------------------------------------------------------------

    def run(self, command, servers=None, **more):
        servers = {"kafka": self.kafka.pid, **(servers or {})}
        return measure.run(command, self.folder / self.next("log"), servers=servers, **more)

    def start_redis(self):
        return Redis(self.folder / self.next("redis"))

    def configuration(self, writer, shape, uri, topic=None):
        """A file with nothing in it but what is needed: every setting has its default."""
        name = self.next("bench")
        store = "online_store" if writer == "ONLINE_WRITER" else "offline_store"
        config = {
            "common_persistence_specs": {
                "bus_backend": "KAFKA",
                "result_bus_topic_id": topic or self.topic(shape),
                "kafka_dlq_topic": "dead-letters",
            },
            "kafka_bootstrap_servers": self.kafka.address,
            "kafka_security_protocol": "PLAINTEXT",
            "environments": {"prod": {store: {"uri": uri}}},
            "writers": [{"bus_subscriber_type": writer, "kafka_consumer_group_override": name}],
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config, indent=2))
        return path

    def run_writer(self, writer, shape, uri, servers=None):
        return self.drain(writer, self.configuration(writer, shape, uri), servers)

    def drain(self, writer, config, servers=None, messages=None):
        """Runs a writer until it has dealt with everything, which is so many messages."""
        command = [self.program, "--type", writer, "--config", config, "--drain", "--listen", "127.0.0.1:0"]
        measured = self.run(command, servers=servers)
        last = json.loads(measured.output.strip().splitlines()[-1])
        last = last.get("fields", last)
        if last["acknowledged"] != (messages or self.messages) or last["buried"] != 0:
            raise SystemExit(f"not everything was written: {last}")
        return measured

    def writer(self, writer, title, shape, uri):
        return self.measured(title, lambda: self.run_writer(writer, shape, uri))

    def raw_consumer(self, shape):
        topic = self.topic(shape)
        command = [self.tool, "count", self.kafka.address, topic, self.messages]
        return self.measured(f"raw consumer, {shape}", lambda: self.run(command))

    def measured(self, title, once, servers=(), messages=None):
        """A row: `once` is done so often, and the middle of what it took is what counts."""
        messages = messages or self.messages
        runs = []
        for _ in range(self.rounds):
            runs.append(once())
            self.note(f"{title}: {runs[-1].cpu:.2f} CPU-s, {runs[-1].seconds:.1f} s, {runs[-1].peak_mib:.0f} MiB")
        per_million = 1e6 / messages
        cpu = sorted(run.cpu * per_million for run in runs)
        used = [f"{statistics.median(run.servers[name] for run in runs) * per_million:.2f}" for name in servers]
        return [
            title,
            f"{messages / statistics.median(run.seconds for run in runs) / 1000:,.0f} k",
            f"**{statistics.median(cpu):.2f}** ({cpu[0]:.2f}–{cpu[-1]:.2f})",
            f"{max(run.peak_mib for run in runs):.0f}",
            ", ".join(used) or "–",
            "; ".join(filter(None, [runs[-1].notes, disturbance(runs)])),
        ]


def disturbance(runs):
    """What else the machine did while it measured, where that was much."""
    most = max(run.foreign for run in runs)
    return f"disturbed: other processes kept {most:.2f} CPUs busy" if most > 0.1 else ""


def beside(row, rows):
    """What of the CPU time of our writer from JSON a row takes: machines differ, and this does not by as much."""
    ours = next((other for other in rows if other[0] == "chalk-writer, json"), None)
    if ours is None or row is ours:
        return ""

    def middle(row):
        return float(row[2].split("**")[1])

    return f"{middle(row) / middle(ours):.2f} ×"


def machine(bench):
    """What it was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30

    def first_line(*command):
        try:
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError):
            return f"no {command[0]}"

    return (
        f"{datetime.date.today()}, {os.cpu_count()} × {model}, {pages:.0f} GiB, Linux {platform.release()}; "
        f"{first_line(bench.program, '--version')}, {first_line('rustc', '--version')}, Apache Kafka 4.1.0, "
        f"{first_line('redis-server', '--version').split(' sha')[0]}. Broker and stores share the machine."
    )


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(names('jobs'))}; without any, all")
    default = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    help = "folder of `chalk-writer` and `examples/bench-tool`; without it what `cargo build --release` makes"
    parser.add_argument("--programs", type=pathlib.Path, default=default, metavar="FOLDER", help=help)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default="", help=f"also measured, installed when needed: {', '.join(names('peers'))}")
    parser.add_argument("--seconds", type=int, default=600, help="how long the job `growth` looks on")
    arguments = parser.parse_args()
    wrong = [name for name in arguments.jobs if name not in names("jobs")]
    peers = [name for name in arguments.peers.split(",") if name]
    wrong += [f"peer {name}" for name in peers if name not in names("peers")]
    if wrong:
        parser.error(f"unknown: {', '.join(wrong)}")
    jobs = [importlib.import_module(f"jobs.{name}") for name in arguments.jobs or names("jobs")]
    if not arguments.jobs:
        jobs = [job for job in jobs if not getattr(job, "ONLY_IF_ASKED", False)]
    for job in jobs:
        # Now, as with peers below.
        getattr(job, "check", lambda: None)()
    peers = [importlib.import_module(f"peers.{name}") for name in peers]
    for peer in peers:
        if not any(name_of(job) in peer.JOBS for job in jobs):
            parser.error(f"{name_of(peer)} does none of these jobs; it does {', '.join(peer.JOBS)}")
        # Now, so that none is found missing after an hour.
        peer.install()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="chalk-writer-bench-"))
    bench = None
    try:
        bench = Bench(arguments, folder)
        tables = []
        for job in jobs:
            print(f"\n== {job.TITLE}", file=sys.stderr)
            rows = list(job.rows(bench))
            rows += [peer.JOBS[name_of(job)](bench) for peer in peers if name_of(job) in peer.JOBS]
            tables.append((job, rows))
        print(f"{machine(bench)}\n{bench.messages:,} messages, {bench.rounds} rounds.")
        for job, rows in tables:
            print(f"\n### {job.TITLE}\n\nShould reach: {job.MARKS}.\n")
            print("| | messages/s | CPU-s per million (least–most) | peak MiB | store's CPU-s per million | | beside ours |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            for row in rows:
                print(f"| {' | '.join(row)} | {beside(row, rows)} |")
    finally:
        if bench:
            bench.kafka.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except measure.Failed as failure:
        sys.exit(f"error: {failure}")
