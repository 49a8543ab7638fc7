"""Kafka → Postgres: the history by COPY, each row once. Beside it, what `\\copy` of the same rows costs without a key."""

from postgres_server import Postgres

TITLE = "Kafka → Postgres, history"
MARKS = "≤ 4.0 CPU-s per million, each row once; ≤ 128 MiB"
TYPES = {"int": "bigint", "double": "double precision", "text": "text"}


def rows(bench):
    yield bench.measured("psql \\copy of the same rows", lambda: plain(bench), servers=("postgres",))
    for shape in ("json", "protobuf"):
        yield bench.measured(f"chalk-writer, {shape}", lambda: ours(bench, shape), servers=("postgres",))


def columns(bench):
    """Of the table that other programs write to: names and types."""
    features = {f"f{number}": TYPES[kind] for number, kind in enumerate(bench.KINDS)}
    return {"id": "text", "ts": "timestamptz", "pkey": "text", **features}


def peer(bench, title, run, notes):
    """A row of another program, of which `run(postgres)` puts the results into the table `results`."""

    def once():
        with Postgres(bench) as postgres:
            table = ", ".join(f"{name} {kind}" for name, kind in columns(bench).items())
            postgres.sql(f"CREATE TABLE results ({table}); ALTER TABLE results OWNER TO writer; CHECKPOINT")
            measured = run(postgres)
            expect_all(bench, postgres, "results", "id")
            measured.notes = f"{size(postgres, 'results')} without a key; {notes}"
            return measured

    return bench.measured(title, once, servers=("postgres",))


def expect_all(bench, postgres, table, column):
    found = postgres.sql(f'SELECT count(*), count(DISTINCT {column}) FROM "{table}"')
    if found != f"{bench.messages}|{bench.messages}":
        raise SystemExit(f"error: Postgres has {found} rows and ids; expected {bench.messages}")


def size(postgres, table):
    bytes_used = int(postgres.sql(f"SELECT pg_total_relation_size('\"{table}\"')"))
    return f"{bytes_used / 1e6:.0f} MB"


def written(bench, postgres, shape):
    measured = bench.run_writer("OFFLINE_WRITER", shape, postgres.uri, servers={"postgres": postgres.pid})
    expect_all(bench, postgres, "user", "__observation_id__")
    return measured


def ours(bench, shape):
    with Postgres(bench) as postgres:
        measured = written(bench, postgres, shape)
        measured.notes = f"{size(postgres, 'user')} with its key"
        return measured


def plain(bench):
    with Postgres(bench) as postgres:
        written(bench, postgres, "json")
        file = postgres.folder / "rows"
        postgres.sql(f"COPY \"user\" TO '{file}' (FORMAT binary); CREATE TABLE bare (LIKE \"user\"); CHECKPOINT")
        file.chmod(0o644)
        copy = postgres.psql(f"\\copy bare FROM '{file}' (FORMAT binary)")
        return bench.run(copy, servers={"postgres": postgres.pid})
