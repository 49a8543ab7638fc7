"""Kafka → Postgres: the newest value of ten features an entity, a row each, compared in the server."""

from postgres_server import Postgres

TITLE = "Kafka → Postgres, newest values, ten fields a message"
MARKS = "no mark"


def rows(bench):
    yield bench.measured("chalk-writer, json", lambda: ours(bench), servers=("postgres",))


def ours(bench):
    with Postgres(bench) as postgres:
        measured = bench.run_writer("ONLINE_WRITER", "json", postgres.uri, servers={"postgres": postgres.pid})
        if (found := int(postgres.sql("SELECT count(DISTINCT pkey) FROM online_features"))) != bench.entities("json"):
            raise SystemExit(f"Postgres has {found} entities; expected {bench.entities('json')}")
        measured.notes = f"{postgres.sql('SELECT count(*) FROM online_features')} values"
        return measured
