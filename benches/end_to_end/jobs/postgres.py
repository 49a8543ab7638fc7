"""Kafka → Postgres: the history by COPY, each row once. Beside it, what `\\copy` of the same rows costs without a key."""

from postgres_server import Postgres

TITLE = "Kafka → Postgres, history"
MARKS = "≤ 4.0 CPU-s per million, each row once; ≤ 128 MiB"


def rows(bench):
    yield bench.measured("psql \\copy of the same rows", lambda: plain(bench), servers=("postgres",))
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape), servers=("postgres",))


def written(bench, postgres, shape):
    measured = bench.run_writer("OFFLINE_WRITER", shape, postgres.uri, servers={"postgres": postgres.pid})
    found = postgres.sql('SELECT count(*), count(DISTINCT __observation_id__) FROM "user"')
    if found != f"{bench.messages}|{bench.messages}":
        raise SystemExit(f"Postgres has {found} rows and ids; expected {bench.messages}")
    return measured


def ours(bench, shape):
    postgres = Postgres(bench)
    try:
        measured = written(bench, postgres, shape)
        size = int(postgres.sql("SELECT pg_total_relation_size('\"user\"')"))
        measured.notes = f"{size / 1e6:.0f} MB with its key"
        return measured
    finally:
        postgres.stop()


def plain(bench):
    postgres = Postgres(bench)
    try:
        written(bench, postgres, "json")
        file = postgres.folder / "rows"
        postgres.sql(f"COPY \"user\" TO '{file}' (FORMAT binary); CREATE TABLE bare (LIKE \"user\"); CHECKPOINT")
        file.chmod(0o644)
        copy = postgres.psql(f"\\copy bare FROM '{file}' (FORMAT binary)")
        return bench.run(copy, servers={"postgres": postgres.pid})
    finally:
        postgres.stop()
