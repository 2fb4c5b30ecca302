"""A real model, SmolLM2: the commands' cost, and one question beside the peers, at equal answers.

    lensdepth fetch smollm2
    python -m benchmarks.real --python tl4=.venv-tl4/bin/python \
        --python nnsight=.venv-nnsight/bin/python --out out/bench/real.json

The question is that of `benchmarks.real_ways`. All ways give equal numbers, which is compared, so
after as many pairs they know the crossing as exactly: the width of its interval comes from all
depths of all pairs, measured once. Peers are timed on a few pairs and multiplied up; lensdepth is
timed at every number of pairs. Seconds are CPU seconds on one thread, but for the commands', which
run as users run them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import torch

from benchmarks.real_ways import KINDS
from lensdepth import find_crossing, load_model, load_task, patch_sweep
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.plotting import layout_of
from lensdepth.sources import resolve
from lensdepth.tasks.task import Task
from lensdepth.units import take

SIZES = (8, 16, 24, 48)
"""Pairs."""
TIMED = 3
"""Pairs that peers are timed on."""
FIRST_PAGE = "report.html"
HOMES = {
    "tl3": {"TransformerLens 3.9, its own patching": "transformer_lens"},
    "tl4": {
        "plain Hugging Face hooks": "plain",
        "TransformerLens 4.3, its own patching": "transformer_lens",
    },
    "nnsight": {"nnsight, batched by depth": "nnsight"},
}
"""Environment -> the ways that run in it."""


def as_rows(task: Task) -> list[dict[str, Any]]:
    """The pairs, for peers."""
    assert task.corrupted_tokens is not None
    rows = []
    for i in range(len(task)):
        at = {
            "clean_at": (task.input_positions, task.prediction_positions),
            "corrupted_at": (task.corrupted_input_positions, task.corrupted_prediction_positions),
            "answers": (task.target_ids, task.foil_ids),
        }
        places = {key: [int(each[i]) for each in both] for key, both in at.items()}  # type: ignore[index]
        tokens = {"clean": task.clean_tokens.row(i), "corrupted": task.corrupted_tokens.row(i)}
        rows.append({**tokens, **places})
    return rows


def asked(python: str, way: str, folder: Path, *more: str) -> dict[str, Any]:
    """What one way says, in a process of its own."""
    command = [python, "-m", "benchmarks.real_ways", "--way", way, "--folder", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.splitlines()[-1])


def difference(profile: PatchProfile, read: Sequence[Any]) -> float:
    """Largest difference of a peer's logit differences from ours, of whole states."""
    found = torch.tensor(read)
    own = [profile.of(position=kind, head=None)[: len(read), :-1] for kind in KINDS[:2]]
    return float((found[:, :2, :, 0] - torch.stack(own, dim=1)).abs().max())


def widths(profile: PatchProfile, sizes: Sequence[int]) -> dict[int, float]:
    """Width of the crossing's interval after so many pairs, from all depths."""
    whole, found = find_crossing(profile), {}
    for n in sizes:
        units = take(whole.units, range(n))
        crossing = find_crossing(whole.first[:n], whole.second[:n], units=units)
        found[n] = crossing.high - crossing.low
    return found


def command_cost(model: str, *command: str) -> dict[str, Any]:
    """Seconds, CPU seconds and peak memory of a command as users type it."""
    with tempfile.TemporaryDirectory() as root:
        page = Path(root, FIRST_PAGE)
        out = ["--out", str(page)] if command[0] == "report" else []
        whole = [sys.executable, "-m", "lensdepth", *command, "--model", model, *out]
        began, first = time.perf_counter(), None
        process = subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if first is None and page.exists():
                first = time.perf_counter() - began
            if pid:
                break
            time.sleep(0.05)
    return {
        "command": " ".join(command),
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "first_page": first,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


def forward_cost(model: DepthModel, task: Task) -> float:
    """CPU seconds of one plain forward pass of all prompts."""
    batches = [task.clean_tokens, task.corrupted_tokens]
    model.logits(batches[0])
    start = time.process_time()
    for batch in batches:
        model.logits(batch)
    return time.process_time() - start


def chart(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Time against the width of the interval; hollow where time was multiplied up."""
    figure = go.Figure()
    for way, found in rows.items():
        hollow = [row.get("multiplied", False) for row in found]
        figure.add_scatter(
            x=[row["seconds"] for row in found],
            y=[row["width"] for row in found],
            text=[f"{row['n']}" for row in found],
            name=way,
            mode="lines+markers",
            marker={"symbol": ["circle-open" if each else "circle" for each in hollow], "size": 9},
        )
    layout = layout_of(figure)
    layout.xaxis.update(type="log", title="CPU seconds, one thread")
    layout.yaxis.update(title="width of the 95% interval, in depths", rangemode="tozero")
    layout.update(
        template="simple_white", width=760, height=340, legend={"x": 1.02, "y": 1},
        margin={"l": 60, "r": 10, "t": 10, "b": 50}, font={"size": 13},
    )  # fmt: skip
    return figure


def main() -> None:
    """Measure, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--python", action="append", default=[], metavar="HOME=PATH")
    parser.add_argument("--skip-commands", action="store_true")
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/bench/real.json"))
    options = parser.parse_args()
    pythons = dict(entry.split("=", 1) for entry in options.python)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"date": str(date.today()), "model": options.model}
    if not options.skip_commands:
        result["commands"] = [
            command_cost(options.model, name, "--task", options.task)
            for name in ("report", "claims", "patch")
        ]
    if not options.skip_peers:
        result |= peers(options.model, options.task, pythons)
        chart(result["ways"]).write_image(options.out.with_suffix(".svg"))
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def peers(name: str, task_name: str, pythons: Mapping[str, str]) -> dict[str, Any]:
    """Every way that has a Python, at every number of pairs."""
    torch.set_num_threads(1)
    folder = Path(resolve(name).place)
    model = load_model(name)
    task = load_task(task_name, model, n=max(SIZES), keep="correct")
    sizes = [n for n in SIZES if n <= len(task)]
    plain = forward_cost(model, task.select(range(TIMED))) / TIMED
    profile = patch_sweep(model, task, depths="all", controls=(), also=("success",))
    width = widths(profile, sizes)
    del model
    ways: dict[str, Any] = {}
    about: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as root:
        pairs = Path(root, "pairs.json")
        pairs.write_text(json.dumps(as_rows(task)))
        for home, python in pythons.items():
            for label, way in HOMES[home].items():
                found = asked(python, way, folder, "--pairs", str(pairs), "--n", str(TIMED))
                print(label, found.get("seconds"), found.get("error"), flush=True)
                if "error" in found:
                    about[label] = found
                    continue
                about[label] = {
                    "seconds_a_pair": found["seconds"],
                    "largest_difference": difference(profile, found["read"]),
                    "peak_gib": found["peak_gib"],
                }
                ways[label] = [
                    {
                        "n": n,
                        "seconds": n * found["seconds"],
                        "width": width[n],
                        "multiplied": True,
                    }
                    for n in sizes
                ]
    counts = [str(n) for n in sizes]
    for backend in ("hooked", "bridge"):
        found = asked(
            sys.executable, "lensdepth", folder, "--task", task_name, "--backend", backend,
            "--n", *counts,
        )  # fmt: skip
        label = f"lensdepth, {backend}"
        print(label, found, flush=True)
        if "error" in found:
            about[label] = found
            continue
        about[label] = {"peak_gib": found["peak_gib"]}
        ways[label] = found["rows"]
    return {"ways": ways, "about": about, "forward_seconds_a_pair": plain, "kinds": KINDS}


if __name__ == "__main__":
    main()
