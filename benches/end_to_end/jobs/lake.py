"""Kafka → parquet files: the history, typed columns, zstd. Beside it, what pyarrow needs to write the same rows."""

import json
import shutil

import parquet_files

TITLE = "Kafka → parquet lake, zstd"
MARKS = "≤ 4.5 CPU-s per million; ≤ 256 MiB"


def rows(bench):
    yield bench.measured("pyarrow, writing the same rows", lambda: plain(bench))
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape))


def peer(bench, title, run, notes):
    """A row of another program, of which `run(folder)` puts the results there, with their ids in the column `id`."""
    return bench.measured(title, lambda: checked(bench, run, "id", notes))


def checked(bench, run, column, notes=""):
    folder = bench.folder / bench.next("lake")
    folder.mkdir()
    measured = run(folder)
    measured.notes = "; ".join(filter(None, [parquet_files.check(folder, column, bench.messages), notes]))
    shutil.rmtree(folder)
    return measured


def ours(bench, shape):
    return checked(
        bench, lambda folder: bench.run_writer("OFFLINE_WRITER", shape, f"file://{folder}"), "__observation_id__"
    )


def plain(bench):
    """Of its run only the writing counts, not that the rows are read before."""
    folder = bench.folder / bench.next("lake")
    bench.run_writer("OFFLINE_WRITER", "json", f"file://{folder}")
    measured = bench.run(parquet_files.command("write", folder))
    alone = json.loads(measured.output)
    measured.seconds, measured.cpu = alone["seconds"], alone["cpu"]
    measured.notes = f"one thread, {alone['bytes'] / 1e6:.0f} MB"
    shutil.rmtree(folder)
    return measured
