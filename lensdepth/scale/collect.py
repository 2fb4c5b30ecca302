"""All parts of a sweep as one table, part by part, so that no more than some of them is held."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lensdepth.outside import outside, shown
from lensdepth.scale.manifest import Manifest
from lensdepth.scale.parts import FIRST, LABEL, UNIT, read_part
from lensdepth.scale.shards import Shard
from lensdepth.writing import whole_file

GROUP = 100_000
"""Rows that are written together, or somewhat more."""
PLACES = ("depth", "relative_depth")


def write_table(folder: Path, manifest: Manifest, shards: Sequence[Shard], path: Path) -> int:
    """Write the rows of some shards as one Parquet file, and say how many there are.

    Columns that an analysis has not are null in its rows. The same parts give the same file.

    Raises:
        ValueError: a part is damaged.
        OSError: the file cannot be written.
    """
    schema, n = _schema(folder, shards), 0
    with whole_file(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as out:
        for table in _grouped(_parts(folder, manifest, shards, schema)):
            out.write_table(table, row_group_size=len(table))
            n += len(table)
    return n


def whole_table(folder: Path, manifest: Manifest, shards: Sequence[Shard]) -> pa.Table:
    """The same in memory."""
    schema = _schema(folder, shards)
    return pa.concat_tables(_parts(folder, manifest, shards, schema))


def _schema(folder: Path, shards: Sequence[Shard]) -> pa.Schema:
    """The columns of all parts: whose a row is, where, what was measured, what is known of it."""
    known: list[pa.Schema] = []
    for shard in shards:
        said = f"the part {shown(str(folder / shard.part))} cannot be read; run the sweep again"
        with outside(said):
            schema = pq.read_schema(folder / shard.part).remove_metadata()
        if schema not in known:
            known.append(schema)
    found: pa.Schema = pa.unify_schemas(known, promote_options="permissive")
    there = found.names
    whose = [name for name in (*FIRST, *PLACES) if name in there]
    of_pairs = [name for name in there if name.startswith((UNIT, LABEL))]
    rest = [name for name in there if name not in {*whose, *of_pairs}]
    return pa.schema([found.field(name) for name in (*whose, *rest, *of_pairs)])


def _parts(
    folder: Path, manifest: Manifest, shards: Sequence[Shard], schema: pa.Schema
) -> Iterator[pa.Table]:
    for shard in shards:
        table: Any = read_part(folder, shard, manifest.sweep)
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        ]
        yield pa.table(columns, schema=schema)


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= GROUP:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()
