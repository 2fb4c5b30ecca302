"""Parts: the rows of one shard as Parquet, written whole, and the receipt that says that they are.

A part is there when its receipt is: SHA-256 and size of the file, written after it. A run that was
killed in between leaves a part without one, which is made again. Rows hold no time and no machine,
so that the same shard is the same file.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lensdepth.converted import digest
from lensdepth.outside import outside, shown
from lensdepth.scale.shards import Shard
from lensdepth.telling.plain import Json
from lensdepth.units import Units
from lensdepth.writing import write_bytes, write_text

FIRST = ("model", "revision", "dtype", "task", "analysis", "settings", "shard", "pair")
"""Columns of every part, in front."""
UNIT, LABEL, OTHER = "unit_", "label_", "_other"
"""Begin and end the names of columns that say what is known of a pair."""
METADATA = b"lensdepth"


def part_table(
    frame: pd.DataFrame,
    whose: Mapping[str, Any],
    *,
    numbers: Sequence[int],
    units: Units,
    labels: Units,
    about: Json,
) -> pa.Table:
    """The rows of an analysis, with what they belong to.

    Args:
        frame: of a result, its pairs counted from 0.
        whose: values of the columns `FIRST`, the pair aside.
        numbers: of its pairs, in the whole task.
        units: of these pairs, and so are labels.
        about: what the file says of itself.
    """
    frame = frame.rename(columns={"prompt": "pair"})
    if "position" in frame:  # a name in one analysis, a number in another
        frame["position"] = frame["position"].astype(str)
    of_pairs = {"pair": list(numbers)} | _columns(UNIT, units) | _columns(LABEL, labels)
    made: dict[str, Any] = {name: [value] * len(frame) for name, value in whose.items()}
    for name, values in of_pairs.items():
        if "pair" in frame:
            made[name] = pd.Series(values, dtype=object).iloc[frame["pair"]].tolist()
    made |= {str(name): frame[name] for name in frame if name != "pair"}
    columns = {name: _plain(pa.array(values, from_pandas=True)) for name, values in made.items()}
    table = pa.table(columns)
    return table.replace_schema_metadata({METADATA: json.dumps(about, sort_keys=True).encode()})


def _columns(prefix: str, groupings: Units) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    for one in groupings:
        name = prefix + re.sub(r"\W+", "_", one.name.strip()).lower()
        found[name] = one.values
        if one.other:
            found[name + OTHER] = one.other
    return found


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The one type that numbers, texts and truth values have in all parts."""
    kind = column.type
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def write_part(
    folder: Path, shard: Shard, table: pa.Table, *, sweep: str, seconds: float, finished: str
) -> Json:
    """Write the rows of a shard, and then the receipt, which is returned.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd")
    data = stream.getvalue().to_pybytes()
    (folder / shard.part).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / shard.part, data)
    receipt = {
        "shard": shard.number,
        "sweep": sweep,
        "part": shard.part,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "rows": table.num_rows,
        "seconds": round(seconds, 3),
        "finished": finished,
    }
    write_text(folder / shard.receipt, json.dumps(receipt, indent=1) + "\n")
    return receipt


def read_receipt(folder: Path, shard: Shard, sweep: str) -> Json | None:
    """The receipt of a shard of this sweep; None where there is none, or one that says nothing."""
    try:
        found = json.loads((folder / shard.receipt).read_bytes())
    except (OSError, ValueError):
        return None
    kinds = {"sha256": str, "rows": int, "seconds": int | float, "bytes": int}
    fits = isinstance(found, dict) and all(isinstance(found.get(k), v) for k, v in kinds.items())
    mine = fits and found.get("sweep") == sweep and found.get("shard") == shard.number
    return found if mine else None


State = Literal["missing", "damaged"]


def check_part(folder: Path, shard: Shard, sweep: str) -> Json | State:
    """The receipt of a part that is whole; or that it is missing, or not as it was written."""
    receipt = read_receipt(folder, shard, sweep)
    if receipt is None:
        return "damaged" if (folder / shard.receipt).exists() else "missing"
    try:
        same = digest(folder / shard.part) == receipt["sha256"]
    except OSError:
        return "damaged"
    return receipt if same else "damaged"


def read_part(folder: Path, shard: Shard, sweep: str, columns: Sequence[str] | None = None) -> Any:
    """The rows of a part that is whole.

    Raises:
        ValueError: it is not.
    """
    receipt = read_receipt(folder, shard, sweep)
    with outside(f"the part {shown(str(folder / shard.part))} cannot be read"):
        data = (folder / shard.part).read_bytes()
    if receipt is None or hashlib.sha256(data).hexdigest() != receipt["sha256"]:
        raise ValueError(
            f"the part {shown(str(folder / shard.part))} is damaged; run the sweep again, which "
            f"computes it anew."
        )
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        there = file.schema_arrow.names
        some = None if columns is None else [name for name in columns if name in there]
        return file.read(columns=some)
