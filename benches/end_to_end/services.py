"""The servers of the benchmark: on loopback and free ports, in a folder that goes with them, stopped by process id."""

import pathlib
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests/services/kafka/kafka.sh"
PUBSUB = ROOT / "tests/services/pubsub/pubsub.sh"
PATIENCE = 30


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Kafka:
    """One broker of Apache Kafka, as the tests have it."""

    def __init__(self, folder):
        self.folder = folder
        started = subprocess.run([KAFKA, "start", folder], check=True, stdout=subprocess.PIPE, text=True)
        self.address = started.stdout.strip()
        self.pid = int((folder / "pid").read_text())

    def stop(self):
        subprocess.run([KAFKA, "stop", self.folder], check=False)


class Store:
    """A server for the length of a `with`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pubsub(Store):
    """Google's emulator of Pub/Sub, empty. Everything is in its memory, so it gets more of that than the tests give it."""

    # Compiled in full, unlike in tests: it is the slowest part of whatever is measured.
    OPTIONS = ["-Xmx4g", "-XX:TieredStopAtLevel=4"]

    def __init__(self, folder):
        self.folder = folder
        started = subprocess.run([PUBSUB, "start", folder, *self.OPTIONS], check=True, stdout=subprocess.PIPE, text=True)
        self.address = started.stdout.strip()
        self.pid = int((folder / "pid").read_text())

    def stop(self):
        subprocess.run([PUBSUB, "stop", self.folder], check=False)


class Redis(Store):
    """One Redis without persistence, empty."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.port = free_port()
        self.uri = f"redis://127.0.0.1:{self.port}"
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("PING")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def ask(self, *commands):
        """What each of these commands, sent at once, answers: bytes, or a list of them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
            with connection.makefile("rb") as answers:
                return [read_answer(answers) for _ in commands]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def read_answer(answers):
    """One answer in Redis's protocol."""
    line = answers.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"*":
        return [read_answer(answers) for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == b"-1" else answers.read(int(rest) + 2)[:-2]
    if kind not in (b"+", b":"):
        raise SystemExit(f"error: Redis answers {line!r}")
    return rest
