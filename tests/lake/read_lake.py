"""Reads a lake with DuckDB, pyarrow, pandas and Polars, each by itself, and compares with what was written.

    read_lake.py ROOT EXPECTED.json

EXPECTED maps a table to `types` (as pyarrow spells them) and `rows` (scalars as text). `user` is read as the folder
that it is; `evolved`, whose columns appear and widen from file to file, as the documentation says to unite files.
"""

import datetime
import decimal
import glob
import json
import math
import sys

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet


def plain(value):
    """One spelling for a value, whichever reader it came from."""
    if value is None or value is pandas.NA or value is pandas.NaT:
        return None
    if isinstance(value, dict):
        return {name: plain(field) for name, field in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        return [plain(item) for item in list(value)]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        assert value.utcoffset() == datetime.timedelta(0), f"{value!r} is not UTC"
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, (int, str)):
        return str(value)
    raise TypeError(f"{type(value)} was not expected")


def files(root, table):
    return sorted(glob.glob(f"{root}/{table}/*/*.parquet"))


def by_duckdb(root, table):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    pattern = f"{root}/{table}/*/*.parquet"
    unite = "true" if table == "evolved" else "false"
    relation = connection.sql(
        f"SELECT * EXCLUDE (date), date AS partition FROM read_parquet('{pattern}', union_by_name = {unite})"
    )
    return relation.to_arrow_table()


def by_pyarrow(root, table):
    if table == "evolved":
        schemas = [pyarrow.parquet.read_schema(file) for file in files(root, table)]
        schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
        return pyarrow.dataset.dataset(files(root, table), schema=schema).to_table()
    return pyarrow.dataset.dataset(f"{root}/{table}", partitioning="hive").to_table()


def by_pandas(root, table):
    if table == "evolved":
        frame = pandas.concat([pandas.read_parquet(file, dtype_backend="pyarrow") for file in files(root, table)])
    else:
        frame = pandas.read_parquet(f"{root}/{table}", dtype_backend="pyarrow")
    return pyarrow.Table.from_pandas(frame, preserve_index=False)


def by_polars(root, table):
    if table == "evolved":
        frames = [polars.read_parquet(file, hive_partitioning=False) for file in files(root, table)]
        return polars.concat(frames, how="diagonal_relaxed").to_arrow()
    return polars.read_parquet(f"{root}/{table}").to_arrow()


def kind(spelled):
    """A type as every reader has it: widths of offsets and names of items differ between them."""
    for one, other in (
        ("large_", ""),
        ("string_view", "string"),
        ("binary_view", "binary"),
        ("element: ", ""),
        ("item: ", ""),
        ("child: ", ""),
        ("l: ", ""),
        ("fixed_size_list<float>[2]", "list<float>"),
        ("Etc/UTC", "UTC"),
    ):
        spelled = spelled.replace(one, other)
    return spelled


def differences(read, expected):
    types = {field.name: str(field.type) for field in read.schema}
    for name, spelled in expected["types"].items():
        if kind(types.get(name, "nothing")) != kind(spelled):
            yield f"column {name!r} is {types.get(name)}, expected {spelled}"
    more = set(types) - set(expected["types"]) - {"date", "partition"}
    if more:
        yield f"columns {sorted(more)} were not written"
    rows = [{name: plain(value) for name, value in row.items()} for row in read.to_pylist()]
    rows.sort(key=lambda row: row["__observation_id__"])
    if len(rows) != len(expected["rows"]):
        yield f"{len(rows)} rows, expected {len(expected['rows'])}"
    for row, wanted in zip(rows, expected["rows"]):
        if not row["__inserted_at__"]:
            yield f"row {row['__observation_id__']} does not say when it was inserted"
        for name, value in wanted.items():
            if row.get(name) != value:
                yield f"row {wanted['__observation_id__']}: {name!r} is {row.get(name)!r}, expected {value!r}"


def main(root, expected):
    with open(expected, encoding="utf-8") as file:
        tables = json.load(file)
    failed = False
    readers = {"duckdb": by_duckdb, "pyarrow": by_pyarrow, "pandas": by_pandas, "polars": by_polars}
    for reader, read in readers.items():
        for table, wanted in tables.items():
            for difference in differences(read(root, table), wanted):
                failed = True
                print(f"{reader}, table {table}: {difference}")
        print(f"{reader}: {len(tables)} tables")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
