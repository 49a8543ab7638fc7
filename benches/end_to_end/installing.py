"""How other programs are installed: each in a folder of its own in the cache, once for what is wished for."""

import os
import pathlib
import shutil
import subprocess
import sys

from services import ROOT

CACHE = pathlib.Path(os.environ.get("CHALK_WRITER_CACHE", ROOT / ".cache")).resolve()


def installed(name, *steps, sources=()):
    """The folder where the commands `steps` have run. They run again when they, or `sources`, have changed."""
    folder = CACHE / "peers" / name
    wish = "\n".join([*(" ".join(step) for step in steps), *(file.read_text() for file in sources)])
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wish:
        return folder
    print(f"\n== installing {name} in {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in sources:
        shutil.copy(file, folder)
    for step in steps:
        try:
            subprocess.run(step, cwd=folder, check=True, stdout=sys.stderr)
        except FileNotFoundError:
            raise SystemExit(f"error: {name} needs `{step[0]}` to be installed, which is not there") from None
        except subprocess.CalledProcessError as failure:
            raise SystemExit(
                f"error: {name} could not be installed: `{' '.join(step)}` ended with {failure.returncode}"
            ) from None
    stamp.write_text(wish)
    return folder


def python(name, *packages):
    """The interpreter of an environment that has these packages of PyPI."""
    pip = ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    return installed(name, ["python3", "-m", "venv", "venv"], pip) / "venv/bin/python"
