"""Kafka Connect with the sink that comes with it, FileStreamSink: its lines are the messages as they are."""

import pathlib

import services
from installing import installed

POM = pathlib.Path(__file__).parent / "connect/pom.xml"


def install():
    fetch = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
    return installed("connect", fetch, sources=[POM])


def lake(bench):
    return bench.measured("Kafka Connect, FileStreamSink, one task", lambda: once(bench))


JOBS = {"lake": lake}


def once(bench):
    name = bench.next("connect")
    lines = bench.folder / f"{name}.json"
    worker = {
        "bootstrap.servers": bench.kafka.address,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "offset.storage.file.filename": bench.folder / f"{name}.offsets",
        "listeners": f"http://127.0.0.1:{services.free_port()}",
        "plugin.discovery": "service_load",
        # As many at once as it makes use of; its default is 500.
        "consumer.max.poll.records": 5000,
        "consumer.fetch.min.bytes": 100_000,
        "consumer.max.partition.fetch.bytes": 4 << 20,
        "consumer.auto.offset.reset": "earliest",
    }
    sink = {
        "name": name,
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": 1,
        "topics": bench.topic("json"),
        "file": lines,
    }
    command = ["java", "-Xmx1g", "-cp", f"{install()}/libs/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    command.append("org.apache.kafka.connect.cli.ConnectStandalone")
    command += [properties(bench.folder / f"{name}-worker", worker), properties(bench.folder / f"{name}-sink", sink)]
    # It never ends by itself: it is done when the file is as long as the messages, each with an end of line.
    whole = bench.bytes("json") + bench.messages
    measured = bench.run(command, until=lambda _pid: lines.exists() and lines.stat().st_size >= whole)
    with open(lines, "rb") as file:
        found = sum(1 for _ in file), lines.stat().st_size
    if found != (bench.messages, whole):
        raise SystemExit(f"error: the file has {found} lines and bytes; expected {bench.messages}, {whole}")
    measured.notes = f"text, {whole / 1e6:.0f} MB; nothing is decoded; with the start of its JVM"
    lines.unlink()
    return measured


def properties(path, settings):
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path
