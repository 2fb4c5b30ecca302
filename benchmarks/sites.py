"""Sweeps where the saving is larger: heads, windows, the prediction position alone.

    python -m benchmarks.sites --shape gpt2 --seq 16

Each is timed by the engine and by plain hooks in one process, in turns; of the plain way only a
part is run, and its time is multiplied up, which the table says.
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from benchmarks.peers import versions
from benchmarks.shapes import ANSWERS, folder, pair
from lensdepth import load_model, polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.replay import replay_measure
from lensdepth.site import depth_hook, site_hook
from lensdepth.tokens import TokenBatch

PLAIN_SHARE = 12
"""Of so many sets of edits the plain way runs one."""


def sweeps(model: DepthModel, clean: TokenBatch) -> dict[str, list[list[SiteEdit]]]:
    """The sets of edits of each sweep, all at the prediction position."""
    last, n_layers = clean.last, model.n_layers
    hooks = [depth_hook(depth, n_layers) for depth in range(n_layers + 1)]
    states = model.activations(clean, hooks)[:, :, 0]
    layers = range(n_layers)
    z = model.activations(clean, [site_hook("z", layer) for layer in layers])[:, :, 0]
    n_heads = model.info.n_heads
    heads = z.unflatten(-1, (n_heads, -1))

    def swap(depth: int) -> SiteEdit:
        return SiteEdit(
            hook=hooks[depth], positions=last, edit=polar.full_swap, source=states[depth]
        )

    return {
        "prediction position, all depths": [[swap(depth)] for depth in range(n_layers + 1)],
        "heads, all blocks": [
            [
                SiteEdit(
                    hook=site_hook("z", layer),
                    positions=last,
                    edit=polar.full_swap,
                    source=heads[layer, :, head],
                    head=head,
                )
            ]
            for layer in layers
            for head in range(n_heads)
        ],
        "windows [a, b], all": [
            [swap(depth) for depth in range(a, b + 1)]
            for a in range(n_layers + 1)
            for b in range(a, n_layers + 1)
        ],
    }


def main() -> None:
    """Time them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shape", choices=["gpt2", "llama"], default="gpt2")
    parser.add_argument("--backend", choices=["auto", "hooked", "bridge"], default="auto")
    parser.add_argument("--seq", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        model = load_model(folder(options.shape, Path(root)), backend=options.backend)
    tokens = pair(model.d_vocab, options.seq)
    clean, corrupted = (model.tokenize(part) for part in tokens)
    columns = torch.tensor([ANSWERS])
    rows = []
    for name, sets in sweeps(model, clean).items():
        some = sets[::PLAIN_SHARE] if len(sets) > 2 * PLAIN_SHARE else sets

        def by_engine(chosen: list[list[SiteEdit]] = sets) -> torch.Tensor:
            return replay_measure(
                model,
                corrupted,
                chosen,
                lambda logits, _: {"logit_diff": logits[:, 0] - logits[:, 1]},
                columns=columns,
                engine="replay",
            )["logit_diff"][:, 0]

        def by_hooks(chosen: list[list[SiteEdit]] = some) -> torch.Tensor:
            runs = [logits[0, 0] for logits in model.run_edits(corrupted, chosen)]
            return torch.stack([run[ANSWERS[0]] - run[ANSWERS[1]] for run in runs])

        by_engine()
        times: dict[str, list[float]] = {"engine": [], "hooks": []}
        found = {}
        for _ in range(options.repeats):
            for way, function in (("engine", by_engine), ("hooks", by_hooks)):
                start = time.perf_counter()
                found[way] = function()
                times[way].append(time.perf_counter() - start)
        fast = statistics.median(times["engine"])
        slow = statistics.median(times["hooks"]) * len(sets) / len(some)
        expected = found["engine"][::PLAIN_SHARE] if len(some) < len(sets) else found["engine"]
        rows.append(
            {
                "sweep": name,
                "runs": len(sets),
                "engine_seconds": fast,
                "hooks_seconds": slow,
                "hooks_measured": len(some),
                "ratio": slow / fast,
                "largest_difference": float((expected - found["hooks"]).abs().max()),
            }
        )
    print(f"{options.shape} on {model.backend}, {options.seq} tokens, {date.today()}")
    print(f"{'sweep':34}{'runs':>6}{'engine s':>10}{'hooks s':>10}{'ratio':>8}{'difference':>12}")
    for row in rows:
        print(
            f"{row['sweep']:34}{row['runs']:6}{row['engine_seconds']:10.2f}"
            f"{row['hooks_seconds']:10.2f}{row['ratio']:8.1f}{row['largest_difference']:12.1e}"
        )
    print(
        f"hooks: of the larger sweeps one set in {PLAIN_SHARE} was run, and its time multiplied up"
    )
    if options.out is not None:
        named = {k: v for k, v in vars(options).items() if k != "out"}
        result = {"date": str(date.today()), "options": named, "versions": versions(), "rows": rows}
        partial = options.out.with_suffix(".partial")
        partial.write_text(json.dumps(result, indent=1) + "\n")
        partial.replace(options.out)


if __name__ == "__main__":
    main()
