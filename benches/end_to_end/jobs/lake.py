"""Kafka → parquet files: the history, typed columns, zstd."""

import shutil

TITLE = "Kafka → parquet lake, zstd"
MARKS = "≤ 4.5 CPU-s per million; ≤ 256 MiB"


def rows(bench):
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape))


def ours(bench, shape):
    lake = bench.folder / "lake"
    measured = bench.run_writer("OFFLINE_WRITER", shape, f"file://{lake}")
    files = list(lake.glob("user/date=*/*.parquet"))
    measured.notes = f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
    shutil.rmtree(lake)
    return measured
