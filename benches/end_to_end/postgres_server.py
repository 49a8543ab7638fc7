"""One PostgreSQL server of the benchmark: the newest release that the tests use, with its own defaults."""

import os
import pathlib
import shutil
import subprocess
import time

from services import PATIENCE, ROOT, Store, free_port

INSTALL = ROOT / "tests/services/postgres/postgres.sh"


class Postgres(Store):
    """Empty, durable, in a folder that goes with it."""

    def __init__(self, bench):
        self.installed = bench.folder / "postgres"
        if not self.installed.exists():
            # The server refuses to be root, so it runs as somebody who has to get at its folder.
            bench.folder.chmod(0o711)
            subprocess.run([INSTALL, "install", self.installed], check=True)
        self.folder = bench.folder / bench.next("postgres")
        self.folder.mkdir()
        template = self.installed / "newest/template"
        subprocess.run(["cp", "-a", template, self.folder / "data"], check=True)
        owner = template.stat()
        os.chown(self.folder, owner.st_uid, owner.st_gid)
        self.port = free_port()
        self.uri = f"postgres://writer:right@127.0.0.1:{self.port}/features"
        settings = [f"port={self.port}", f"unix_socket_directories={self.folder}", "listen_addresses=127.0.0.1"]
        command = [self.installed / "newest/bin/postgres", "-D", self.folder / "data"]
        command += [word for setting in settings for word in ("-c", setting)]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(self.psql("SELECT 1"), capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL does not answer: {pathlib.Path(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def psql(self, *statements):
        command = [self.installed / "newest/bin/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.folder]
        command += ["-p", self.port, "-U", "admin", "-d", "features"]
        return [str(word) for word in command + [word for text in statements for word in ("-c", text)]]

    def sql(self, text):
        return subprocess.run(self.psql(text), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def stop(self):
        self.process.send_signal(2)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
