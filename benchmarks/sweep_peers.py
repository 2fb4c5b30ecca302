"""The resid_pre sweep of one pair, lensdepth beside its peers: one table.

    python -m benchmarks.sweep_peers --shape gpt2 --seq 16 --python tl3=.venv/bin/python \
        --python tl4=.venv-tl4/bin/python

The peers need environments that do not go together, so each environment is a process that holds
its models; they take turns, one sweep at a time, so that a busy machine is busy for all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

HOMES = {
    "tl3": ("transformer_lens_hooked", "lensdepth_hooked"),
    "tl4": ("plain", "transformer_lens_bridge", "lensdepth_bridge"),
    "nnsight": ("nnsight",),
    "pyvene": ("pyvene",),
}
"""Environment -> the ways that run in it."""
REFERENCE = "plain"
NAMED = ("shape", "seq", "shared", "every", "threads", "device", "repeats", "once")
"""Options that belong to the result."""


class Server:
    """One environment's process."""

    def __init__(self, python: str, ways: Sequence[str], options: argparse.Namespace) -> None:
        command = [python, "-m", "benchmarks.peers", "--shape", options.shape]
        command += ["--seq", str(options.seq), "--shared", str(options.shared)]
        command += ["--every", str(options.every)]
        command += ["--threads", str(options.threads), "--device", options.device]
        command += ["--ways", ",".join(ways)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.debug else subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.process.args} ended without an answer; see --debug.")

    def run(self, way: str) -> dict[str, Any]:
        """One sweep."""
        assert self.process.stdin is not None
        self.process.stdin.write(way + "\n")
        self.process.stdin.flush()
        return self._answer()


def block_flops(shape: str) -> float:
    """Operations of one block on one token, attention over the past left out."""
    if shape == "gpt2":
        return 2 * 12 * 768**2
    d, kv, mlp = 512, 256, 1376
    return 2 * (2 * d * d + 2 * d * kv + 3 * d * mlp)


def key_value_flops(shape: str) -> float:
    """The part of it that makes queries, keys and values, all that most tokens of the last block
    need; the queries are of no use but come with Hugging Face's modules."""
    return 2 * 3 * 768**2 if shape == "gpt2" else 2 * (512 * 512 + 2 * 512 * 256)


def sweep_flops(shape: str, seq: int, shared: int, every: int, n_layers: int = 12) -> float:
    """What an exact sweep has to compute: blocks from the patch on, positions from the patch on,
    and in the last block the last position alone beyond keys and values."""
    patched = [position for position in range(0, seq, every) if position >= shared]
    tokens = sum(seq - position for position in patched)
    whole = sum(layer + 1 for layer in range(n_layers - 1)) * tokens
    last = n_layers * len(patched)
    base = 2 * n_layers * seq
    return (whole + last + base) * block_flops(shape) + n_layers * tokens * key_value_flops(shape)


def main() -> None:
    """Run the ways in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shape", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--seq", type=int, default=16)
    parser.add_argument("--shared", type=int, default=0, help="equal tokens at the start")
    parser.add_argument("--every", type=int, default=1, help="patch each n-th position only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", default="", help="ways that run once: the slow ones")
    parser.add_argument("--python", action="append", default=[], metavar="HOME=PATH")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args()
    pythons = dict(entry.split("=", 1) for entry in options.python) or {"tl4": sys.executable}
    homes = {home: HOMES[home] for home in pythons}
    servers: dict[str, Server] = {}
    for home, ways in homes.items():
        try:
            servers[home] = Server(pythons[home], ways, options)
        except (OSError, RuntimeError) as error:
            print(f"left out {home}: {error}")
    runs: dict[str, list[dict[str, Any]]] = {}
    once = set(filter(None, options.once.split(",")))
    for turn in range(options.repeats + 1):
        for home, server in servers.items():
            for way in homes[home]:
                if turn > 1 and way in once:
                    continue
                try:
                    found = server.run(way)
                except (OSError, RuntimeError) as error:
                    print(f"{way} failed: {error}")
                    continue
                if turn or way in once:  # the first round warms up
                    runs.setdefault(way, []).append(found)
    reference = torch.tensor(runs[REFERENCE][0]["effects"]) if REFERENCE in runs else None
    flops = sweep_flops(options.shape, options.seq, options.shared, options.every)
    rate = max(server.about["matmul"] for server in servers.values())
    best = min(_median(runs[way]) for way in runs if way.startswith("lensdepth"))
    rows = []
    for way, found in runs.items():
        error = None
        if reference is not None:
            error = float((torch.tensor(found[0]["effects"]) - reference).abs().max())
        rows.append(
            {
                "way": way,
                "seconds": _median(found),
                "runs": [run["seconds"] for run in found],
                "ratio": _median(found) / best,
                "largest_difference": error,
                "peak_gib": found[-1]["peak_gib"],
            }
        )
    rows.sort(key=lambda row: -row["seconds"])
    about = {home: server.about["ready"] for home, server in servers.items()}
    print(f"{options.shape}, {options.seq} tokens, {options.shared} shared, {date.today()}")
    print(f"{'way':26}{'seconds':>9}{'ratio':>8}{'difference':>12}{'peak GiB':>10}")
    for row in rows:
        difference = row["largest_difference"]
        shown = "-" if difference is None else f"{difference:.1e}"
        print(
            f"{row['way']:26}{row['seconds']:9.2f}{row['ratio']:8.1f}{shown:>12}{row['peak_gib']:10.2f}"
        )
    floor = flops / rate
    print(
        f"needed: {flops / 1e9:.0f} GFLOP; matmul {rate / 1e9:.0f} GFLOP/s; floor {floor:.2f} s; "
        f"lensdepth is at {best / floor:.2f} times it"
    )
    if options.out is not None:
        result = {
            "date": str(date.today()),
            "options": {name: getattr(options, name) for name in NAMED},
            "versions": about,
            "rows": rows,
            "flops": flops,
            "matmul_flops_per_second": rate,
            "floor_seconds": floor,
        }
        partial = options.out.with_suffix(".partial")
        partial.write_text(json.dumps(result, indent=1) + "\n")
        partial.replace(options.out)


def _median(found: list[dict[str, Any]]) -> float:
    return statistics.median(run["seconds"] for run in found)


if __name__ == "__main__":
    main()
