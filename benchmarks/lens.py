"""The logit lens at every depth and position, beside TransformerLens 4's own: one table.

    .venv-tl4/bin/python -m benchmarks.lens --python tl3=.venv/bin/python \
        --python tl4=.venv-tl4/bin/python

Each way is a process of its own, so that its peak memory is its own; they take turns, one reading
at a time, so that a busy machine is busy for all of them. TransformerLens gives the likeliest
token and the entropy; lensdepth gives the divergence from the final distribution, agreement and
ranks as well.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import memory_gib

HOMES = {"transformer_lens": "tl4", "lensdepth_bridge": "tl4", "lensdepth_hooked": "tl3"}
"""Way -> the environment that it runs in."""
NAMES = {
    "transformer_lens": "TransformerLens 4.3, bridge, its own logit_lens",
    "lensdepth_bridge": "**lensdepth, bridge**",
    "lensdepth_hooked": "**lensdepth, HookedTransformer**",
}


def _reader(way: str, folder: Path) -> Callable[[torch.Tensor], tuple[Any, Any]]:
    """A function that reads every depth; it gives the top tokens and the entropies."""
    if way == "transformer_lens":
        from transformer_lens.model_bridge import TransformerBridge
        from transformer_lens.tools.analysis import logit_lens as own_lens  # type: ignore[attr-defined]

        bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
        bridge.eval()

        def read(tokens: torch.Tensor) -> tuple[Any, Any]:
            found = own_lens(bridge, tokens, positions=None, top_k=1).readout
            return found.top_ids[..., 0], found.entropy

        return read
    from lensdepth import load_model, logit_lens

    model = load_model(folder, backend="bridge" if way == "lensdepth_bridge" else "hooked")

    def ours(tokens: torch.Tensor) -> tuple[Any, Any]:
        profile = logit_lens(model, tokens, positions="all", top_k=1)
        return profile.top_tokens[..., 0], profile.entropy

    return ours


def serve(way: str, options: argparse.Namespace) -> None:
    """Load, then read once for each line that comes in."""
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(1)
    from benchmarks.shapes import config, folder

    d_vocab = config(options.shape).vocab_size
    tokens = torch.randint(d_vocab, (options.prompts, options.seq), generator=generator)
    with tempfile.TemporaryDirectory() as root:
        read = _reader(way, folder(options.shape, Path(root)))
        read(tokens[:1, :2])  # checks of the model, and weights that lie untouched in their file
    gc.collect()
    loaded = memory_gib("VmRSS")
    print(json.dumps({"ready": way}), flush=True)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    for _ in sys.stdin:
        start = time.perf_counter()
        top, entropy = read(tokens)
        seconds = time.perf_counter() - start
        peak = memory_gib("VmHWM")
        answer = {"seconds": seconds, "peak_gib": peak, "loaded_gib": loaded}
        sums = {"top": int(top.sum()), "entropy": float(entropy.double().mean())}
        print(json.dumps({**answer, **sums}), flush=True)


def _start(way: str, python: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [python, "-m", "benchmarks.lens", "--serve", way, "--shape", options.shape]
    for name in ("prompts", "seq", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if options.debug else subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
    )


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"{process.args} ended without an answer; see --debug.")


def main() -> None:
    """Run the ways in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shape", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--seq", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--python", action="append", default=[], metavar="HOME=PATH")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--serve", choices=list(HOMES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options)
        return
    pythons = dict(entry.split("=", 1) for entry in options.python) or {"tl4": sys.executable}
    ways = [way for way, home in HOMES.items() if home in pythons]
    processes = {way: _start(way, pythons[HOMES[way]], options) for way in ways}
    for process in processes.values():
        _answer(process)
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(options.repeats + 1):
        for way, process in processes.items():
            assert process.stdin is not None
            process.stdin.write("read\n")
            process.stdin.flush()
            found = _answer(process)
            runs[way].append(found)
    for process in processes.values():
        process.communicate()
    rows = [
        {
            "way": way,
            # The first one warms up.
            "seconds": statistics.median(run["seconds"] for run in found[1:]),
            "all_seconds": [run["seconds"] for run in found],
            "loaded_gib": found[0]["loaded_gib"],
            "first_peak_gib": found[0]["peak_gib"],
            "peak_gib": max(run["peak_gib"] for run in found),
            "top": found[0]["top"],
            "entropy": found[0]["entropy"],
        }
        for way, found in runs.items()
    ]
    print(
        f"{options.shape}, {options.prompts} x {options.seq} tokens, {options.threads} thread(s), "
        f"{date.today()}\n"
    )
    print(
        "| way | seconds, median | loaded, GiB | peak of one reading, GiB "
        "| of several, GiB | mean entropy |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {NAMES[row['way']]} | {row['seconds']:.2f} | {row['loaded_gib']:.2f} | "
            f"{row['first_peak_gib']:.2f} | {row['peak_gib']:.2f} | {row['entropy']:.5f} |"
        )
    same = len({row["top"] for row in rows}) == 1
    print(f"\nThe likeliest tokens are {'the same' if same else 'NOT the same'} everywhere.")
    if options.out is not None:
        partial = options.out.with_suffix(".partial")
        partial.write_text(json.dumps({"date": str(date.today()), "rows": rows}, indent=1) + "\n")
        partial.replace(options.out)


if __name__ == "__main__":
    main()
