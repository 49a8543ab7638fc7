"""The servers of the benchmark: on loopback and free ports, in a folder that goes with them, stopped by process id."""

import pathlib
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests/services/kafka/kafka.sh"
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


class Redis:
    """One Redis without persistence, empty."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.port = free_port()
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
                self.command("PING")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def command(self, *words):
        """The first line of the answer to one command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall((" ".join(words) + "\r\n").encode())
            return connection.makefile("rb").readline().decode().strip()

    def stop(self):
        self.process.terminate()
        self.process.wait()
