"""What a sweep costs as it grows: layers, tokens, pairs; seconds and peak memory.

    python -m benchmarks.cost

Each case runs in a process of its own, so that its peak memory is its own: what stands after
loading and one forward pass is taken off.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import memory_gib

CASES = (
    *({"n_layers": n} for n in (6, 12, 24)),
    *({"seq": n} for n in (8, 16, 64, 256)),
    *({"pairs": n} for n in (1, 4, 16, 64)),
    *({"seq": 64, "copies": n} for n in (1, 4)),
)
"""What differs from 12 layers, 16 tokens, 1 pair and 1 copy of each intervention. Every position
is patched where tokens times pairs are at most 64, beyond that the prediction position alone."""
DEFAULTS = {"n_layers": 12, "seq": 16, "pairs": 1, "copies": 1}


def one(case: dict[str, int], shape: str, backend: str) -> dict[str, Any]:
    """Time one case; run in a process of its own."""
    from benchmarks.shapes import folder
    from lensdepth import load_model, polar
    from lensdepth.hooks import SiteEdit
    from lensdepth.replay import replay_measure
    from lensdepth.site import depth_hook

    torch.set_num_threads(1)
    n_layers, seq, pairs = case["n_layers"], case["seq"], case["pairs"]
    with tempfile.TemporaryDirectory() as root:
        model = load_model(folder(shape, Path(root), n_layers), backend=backend)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    clean, corrupted = (
        model.tokenize(torch.randint(model.d_vocab, (pairs, seq), generator=generator))
        for _ in range(2)
    )
    model.logits(corrupted[:1])
    states = model.residual_stream(clean, positions="all").resid
    before = _peak()
    positions = range(seq) if seq * pairs <= 64 else [seq - 1]
    sets = [
        [
            SiteEdit(
                hook=depth_hook(depth, n_layers),
                positions=torch.full((pairs,), position),
                edit=polar.full_swap,
                source=states[depth, :, position],
            )
        ]
        for depth in range(n_layers)
        for position in positions
    ] * case["copies"]
    start = time.perf_counter()
    replay_measure(
        model,
        corrupted,
        sets,
        lambda logits, _: {"logit_diff": logits[:, 0] - logits[:, 1]},
        columns=torch.tensor([[5, 7]]).expand(pairs, 2),
        engine="replay",
    )
    seconds = time.perf_counter() - start
    return {
        **case,
        "runs": len(sets) * pairs,
        "seconds": seconds,
        "milliseconds_a_run": 1e3 * seconds / (len(sets) * pairs),
        "peak_mib": _peak() - before,
    }


def _peak() -> float:
    return 2**10 * memory_gib("VmHWM")


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shape", choices=["gpt2", "llama"], default="llama")
    parser.add_argument("--backend", choices=["auto", "hooked", "bridge"], default="auto")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(one(options.case, options.shape, options.backend)))
        return
    print(f"{options.shape}, {date.today()}: resid_pre, logit difference at the last position")
    heads = ("layers", "tokens", "pairs", "copies", "runs", "seconds", "ms a run", "peak MiB")
    print("".join(f"{head:>9}" for head in heads))
    rows = []
    for change in CASES:
        case = {**DEFAULTS, **change}
        command = [sys.executable, "-m", "benchmarks.cost", "--shape", options.shape]
        command += ["--backend", options.backend, "--case", json.dumps(case)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{case} failed: {done.stderr.strip().splitlines()[-1]}")
            continue
        row = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append(row)
        print(
            f"{row['n_layers']:9}{row['seq']:9}{row['pairs']:9}{row['copies']:9}{row['runs']:9}"
            f"{row['seconds']:9.2f}{row['milliseconds_a_run']:9.2f}{row['peak_mib']:9.0f}"
        )
    if options.out is not None:
        partial = options.out.with_suffix(".partial")
        partial.write_text(json.dumps({"date": str(date.today()), "rows": rows}, indent=1) + "\n")
        partial.replace(options.out)


if __name__ == "__main__":
    main()
