"""Parquet files, by pyarrow, which is in an environment of its own, the one that the tests read the lake with.

This file is also the program that runs there: `count FOLDER COLUMN`, or `write FOLDER`, which writes the rows of a
folder's files once more and tells what that took without the reading.
"""

import glob
import json
import pathlib
import subprocess
import sys
import time

from installing import CACHE
from services import ROOT


def interpreter():
    install = [ROOT / "tests/services/python", CACHE / "python"]
    return subprocess.run(install, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def command(*words):
    return [interpreter(), __file__, *words]


def check(folder, column, expected):
    """Every message is in the folder's files, once, by this column; returns what there is to say of the files."""
    done = subprocess.run(command("count", folder, column), check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    if (found["rows"], found["distinct"]) != (expected, expected):
        raise SystemExit(f"error: the files have {found}; expected {expected} rows and as many ids")
    return f"{found['files']} files, {found['bytes'] / 1e6:.0f} MB"


def count(folder, column):
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    names = files(folder)
    chunks = [part for name in names for part in pyarrow.parquet.ParquetFile(name).read([column])[column].chunks]
    ids = pyarrow.chunked_array(chunks, pyarrow.string())
    sizes = [pathlib.Path(name).stat().st_size for name in names]
    found = {"rows": len(ids), "distinct": pyarrow.compute.count_distinct(ids).as_py()}
    print(json.dumps({**found, "files": len(names), "bytes": sum(sizes)}))


def write(folder):
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_cpu_count(1)
    out, took, cpu, writer = f"{folder}/written", 0, 0, None
    for batch in (batch for name in files(folder) for batch in pyarrow.parquet.ParquetFile(name).iter_batches(100_000)):
        begun = time.monotonic(), time.process_time()
        writer = writer or pyarrow.parquet.ParquetWriter(out, batch.schema, compression="zstd")
        writer.write_batch(batch)
        took, cpu = took + time.monotonic() - begun[0], cpu + time.process_time() - begun[1]
    begun = time.monotonic(), time.process_time()
    writer.close()
    took, cpu = took + time.monotonic() - begun[0], cpu + time.process_time() - begun[1]
    print(json.dumps({"seconds": took, "cpu": cpu, "bytes": pathlib.Path(out).stat().st_size}))


def files(folder):
    return sorted(glob.glob(f"{folder}/**/*.parquet", recursive=True))


if __name__ == "__main__":
    {"count": count, "write": write}[sys.argv[1]](*sys.argv[2:])
