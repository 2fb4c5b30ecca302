"""Four threads on one model against one thread: the same numbers, and what the lock costs.

    python -m benchmarks.threads --calls 200

Runs on every backend of the installed TransformerLens.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.shapes import folder
from lensdepth import DepthModel, load_model, logit_lens, polar
from lensdepth.conversion import has_hooked_transformer
from lensdepth.hooks import SiteEdit
from lensdepth.passes import Passes
from lensdepth.replay import replay
from lensdepth.site import site_hook

N_THREADS = 4


def calls_on(model: DepthModel) -> dict[str, Callable[[], Tensor]]:
    """Calls of every kind that runs the model, each of which gives a tensor."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.d_vocab, (6, 12), generator=generator)
    push = torch.randn(model.d_model, generator=generator)
    batch = model.tokenize(ids)
    z = SiteEdit(
        hook=site_hook("z", 1), positions=batch.last, edit=polar.scale(2.0), source=None, head=0
    )

    def steered() -> Tensor:
        with model.steer(polar.add(3.0), depths=1, source=push) as there:
            return there.logits(ids)

    def replayed() -> Tensor:
        parts = list(replay(model, batch, [[z], []], engine="replay"))
        order = torch.cat([p.sets * len(batch) + p.prompts for p in parts]).argsort()
        return torch.cat([p.resid for p in parts])[order]

    return {
        "logits": lambda: model.logits(ids),
        "residual_stream": lambda: model.residual_stream(ids, "all").resid,
        "activations": lambda: model.activations(ids, [site_hook("attn_out", 1)]),
        "attention": lambda: model.attention(ids, [0, 1]),
        "run_edits": lambda: next(model.run_edits(batch, [[z]])),
        "readout": lambda: model.readout(torch.stack([push, 2 * push])),
        "logit_lens": lambda: logit_lens(model, batch).kl,
        "steer": steered,
        "replay": replayed,
    }


def compare(model: DepthModel, n_calls: int) -> dict[str, Any]:
    """Calls in threads against the same calls one after another."""
    calls = calls_on(model)
    alone = {name: call() for name, call in calls.items()}
    begin = threading.Barrier(N_THREADS)

    def work(seed: int) -> tuple[int, list[str]]:
        wrong, errors = 0, []
        chosen = random.Random(seed).choices(list(calls), k=n_calls)
        begin.wait()
        for name in chosen:
            try:
                wrong += not calls[name]().equal(alone[name])
            except Exception as error:  # counted, whatever it is
                errors.append(f"{name}: {error}")
        return wrong, errors

    started = time.perf_counter()
    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(work, range(N_THREADS)))
    return {
        "calls": N_THREADS * n_calls,
        "different": sum(wrong for wrong, _ in found),
        "errors": sum(len(errors) for _, errors in found),
        "first_error": next((e for _, errors in found for e in errors), None),
        "seconds": round(time.perf_counter() - started, 1),
    }


def cost(model: DepthModel, repeats: int) -> dict[str, float]:
    """What the lock adds to a short pass: entries of one pass times the time of one, in CPU time.

    Too little to be seen in the time of a pass itself, which moves by more from run to run.
    """
    prompt = torch.zeros(1, 4, dtype=torch.long)
    lock, entered = Passes.lock.fget, [0]
    assert lock is not None

    def counted(passes: Passes) -> Any:
        entered[0] += 1
        return lock(passes)

    with mock.patch.object(Passes, "lock", property(counted)):
        model.residual_stream(prompt)

    def enter() -> None:
        with model.passes.lock:
            pass

    one, whole = (_cpu_time(call, n, repeats) for call, n in (
        (enter, 1000), (lambda: model.residual_stream(prompt), 20),
    ))  # fmt: skip
    return {
        "lock_us": round(1e6 * one, 2),
        "locks_a_pass": entered[0],
        "pass_us": round(1e6 * whole),
        "share": round(entered[0] * one / whole, 5),
    }


def _cpu_time(call: Callable[[], object], n: int, repeats: int) -> float:
    """CPU seconds of one call of this thread: the median of repeats, each of n calls."""
    call()
    found = []
    for _ in range(repeats):
        began = time.thread_time()
        for _ in range(n):
            call()
        found.append((time.thread_time() - began) / n)
    return statistics.median(found)


def main() -> None:
    """Print one line of JSON a backend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=200, help="of each thread")
    parser.add_argument("--repeats", type=int, default=40, help="of the cost's measurement")
    given = parser.parse_args()
    torch.set_num_threads(1)
    backends = ("hooked", "bridge") if has_hooked_transformer() else ("bridge",)
    for backend in backends:
        with tempfile.TemporaryDirectory() as root:
            model = load_model(folder("llama", Path(root), 3), backend=backend)
        tiny = load_model("tiny", backend=backend)
        row = {"transformer_lens": version("transformer-lens"), "backend": backend}
        row |= compare(tiny, given.calls)
        row |= {"512_wide": cost(model, given.repeats), "tiny": cost(tiny, given.repeats)}
        print(json.dumps(row))


if __name__ == "__main__":
    main()
