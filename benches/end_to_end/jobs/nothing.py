"""Kafka → nothing: read, decoded, put into batches, acknowledged. Beside it, a consumer that only counts."""

TITLE = "Kafka → nothing, acknowledged"
MARKS = "JSON ≤ 2.6, protobuf ≤ 1.8 CPU-s per million; ≤ 96 MiB"


def rows(bench):
    for shape in ("json", "protobuf"):
        yield bench.raw_consumer(shape)
        yield bench.writer("ONLINE_WRITER", f"chalk-writer, {shape}", shape, "blackhole:")
