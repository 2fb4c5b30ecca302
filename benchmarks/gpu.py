"""lensdepth on one GPU: a Llama-3.1-8B shape in bfloat16, and what each analysis takes of the card.

    python -m benchmarks.gpu --out out/bench/gpu.json

Weights are random and made on the device from a configuration, so nothing is downloaded: what is
measured is time, memory and agreement with plain hooks, never what a model knows. Each part stands
alone: one that fails leaves its error in the table and the others go on, and one that would begin
after `--minutes` is left out and says so. Without a GPU it says so and ends;
`--shape tiny --device cpu --dtype float32` tries it all on a processor.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.bench import Bench
from benchmarks.large import SHAPES, Sizes, depth_model, hugging_face
from benchmarks.peers import versions
from benchmarks.shapes import ANSWERS, pair
from lensdepth import (
    ablation_sweep,
    capture,
    geometry_profile,
    load_task,
    logit_lens,
    patch_sweep,
    polar,
    steering_sweep,
)
from lensdepth.devices import DTYPES
from lensdepth.geometry.reading import read_states
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.replay import replay_measure
from lensdepth.site import depth_hook
from lensdepth.tasks.load import draw_rows
from lensdepth.tasks.recipe import Form
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

PEAK = 989.0
"""TFLOP/s of an H100 SXM in bfloat16 without sparsity, by its data sheet."""
FORMS: tuple[Form, ...] = ("plain", "few-shot")


def matmul_rate(bench: Bench, dtype: torch.dtype, n: int) -> dict[str, Any]:
    """TFLOP/s of this device in one large square product, best of five."""
    a, b = (torch.randn(n, n, device=bench.device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        _, seconds = bench.timed(lambda: [torch.mm(a, b) for _ in range(5)])
        best = max(best, 5 * 2 * n**3 / seconds / 1e12)
    return {"matmul_tflop_per_second": best, "share_of_peak": best / bench.peak}


def analyses(bench: Bench, model: DepthModel, tasks: dict[Form, Task]) -> None:
    """Every analysis of a report, one after the other; the first one warms up."""
    plain, shots = tasks["plain"], tasks["few-shot"]
    every: dict[str, Any] = {"depths": "all", "engine": "replay"}

    def first() -> dict[str, Any]:
        for task in (plain, shots):
            two = task.select([True, True] + [False] * (len(task) - 2))
            patch_sweep(model, two, depths=[0, 1], engine="replay")
        return {"seconds": bench.timed(lambda: logit_lens(model, plain))[1]}

    bench.part("warm-up, comparison of the engine with plain hooks", first)
    if "error" in bench.result["parts"]["warm-up, comparison of the engine with plain hooks"]:
        every["engine"] = "auto"  # which says why, and goes on hook by hook
    bench.result["engine"] = every["engine"]

    def run(name: str, task: Task, work: Callable[[], Any]) -> None:
        size = f"{len(task)} pairs of {int(task.clean_tokens.lengths.max())} tokens"
        context = float(task.clean_tokens.lengths.float().mean()) / 2
        bench.part(f"{name}, {size}", lambda: bench.analysis(model, context, work))

    for task in (plain, shots):
        run("patch curves", task, lambda t=task: patch_sweep(model, t, **every))
    whole = {**every, "positions": "all", "also": (), "controls": ()}
    run("patch map, logit difference alone", shots, lambda: patch_sweep(model, shots, **whole))
    run("direction and norm ablation", plain, lambda: ablation_sweep(model, plain, **every))
    run("steering", plain, lambda: steering_sweep(model, plain, **every))
    run("logit lens, last token", shots, lambda: logit_lens(model, shots))
    few = shots.clean_tokens[:8]
    run("logit lens, all tokens of 8", shots, lambda: logit_lens(model, few, positions="all"))

    def kept() -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture(model, shots, Path(folder) / "states", positions="all")

    run("capture, all depths and tokens", shots, kept)
    run("geometry, states read", shots, lambda: read_states(model, shots))


def geometry(bench: Bench, model: DepthModel, task: Task) -> dict[str, Any]:
    """What geometry makes of its states, which is work of the processor alone."""
    reading = read_states(model, task)
    return {"seconds": bench.timed(lambda: geometry_profile(model, task, reading=reading))[1]}


def whole_map(model: DepthModel, clean: TokenBatch, corrupted: TokenBatch) -> Tensor:
    """The logit difference of every patch of a clean state into the corrupted run by the engine,
    `[depth, position, pair]`."""
    n_pos = clean.tokens.shape[1]
    states = model.residual_stream(clean, positions="all").resid
    sets = [
        [_swap(states, depth, position, len(clean))]
        for depth in range(model.n_layers)
        for position in range(n_pos)
    ]
    read = replay_measure(
        model,
        corrupted,
        sets,
        lambda logits, _: {"logit_diff": logits[:, 0] - logits[:, 1]},
        columns=torch.tensor([ANSWERS]).expand(len(clean), 2),
        engine="replay",
    )
    return read["logit_diff"].view(model.n_layers, n_pos, -1)


def large_map(bench: Bench, model: DepthModel, n_pairs: int, n_tokens: int) -> None:
    """The work that fills the card: pairs that differ in every token, patched everywhere."""
    drawn = torch.Generator().manual_seed(0)
    clean, corrupted = (
        model.tokenize(torch.randint(3, model.d_vocab, (n_pairs, n_tokens), generator=drawn))
        for _ in range(2)
    )
    bench.part(
        f"whole map, {n_pairs} pairs of {n_tokens} tokens, all different",
        lambda: bench.analysis(model, n_tokens / 2, lambda: whole_map(model, clean, corrupted)),
    )


def spots(n_layers: int, n_pos: int, n: int) -> list[tuple[int, int]]:
    """Sites spread over depths and positions, the mean of which costs what the mean site does."""
    every = [(depth, position) for depth in range(n_layers) for position in range(1, n_pos)]
    step = max(1, len(every) // n)
    return every[step // 2 :: step][:n]


def peers(bench: Bench, model: DepthModel, n_tokens: int, n_runs: int) -> None:
    """The same patches by TransformerLens's own loop, by nnsight and by the engine, a run each.

    One pair of prompts that differ in every token. The others run a part of the sites, the engine
    the whole map; seconds a run are compared, and nothing is multiplied up.
    """
    clean, corrupted = (tokens.to(model.device) for tokens in pair(model.d_vocab, n_tokens))
    batches = [model.tokenize(tokens.cpu()) for tokens in (clean, corrupted)]
    some = spots(model.n_layers, n_tokens, n_runs)
    found: dict[str, Tensor] = {}

    def difference(logits: Tensor) -> Tensor:
        return logits[..., ANSWERS[0]].float() - logits[..., ANSWERS[1]].float()

    def entry(way: str, values: Tensor, seconds: float, n: int) -> dict[str, Any]:
        found[way] = values.float().cpu()
        ours = found.get("lensdepth")
        off = None if ours is None else float((found[way] - ours).abs().max())
        spread = None if ours is None else float(ours.std())
        return {
            "seconds": seconds,
            "runs": n,
            "ms_a_run": 1e3 * seconds / n,
            "largest_difference": off,
            "spread_of_values": spread,
        }

    def engine() -> dict[str, Any]:
        whole_map(model, *batches)
        values, seconds = bench.timed(lambda: whole_map(model, *batches))
        at = tuple(torch.tensor(some).T)
        return entry("lensdepth", values[at][:, 0], seconds, values.numel())

    bench.part("one pair, lensdepth's engine, whole map", engine)

    def transformer_lens() -> dict[str, Any]:
        import pandas as pd
        from transformer_lens import patching

        bridge = model.model

        @torch.no_grad()
        def sweep(sites: Sequence[tuple[int, int]]) -> Tensor:
            _, cache = bridge.run_with_cache(
                clean, names_filter=lambda name: name.endswith("hook_resid_pre")
            )
            values = patching.generic_activation_patch(
                bridge,
                corrupted,
                cache,
                lambda logits: difference(logits[0, -1]),
                patching.layer_pos_patch_setter,
                "resid_pre",
                index_df=pd.DataFrame(sites, columns=["layer", "pos"]),
            )
            return (values if isinstance(values, Tensor) else values.values).flatten()

        sweep(some[:2])
        values, seconds = bench.timed(lambda: sweep(some))
        return entry("transformer_lens", values, seconds, len(some))

    bench.part("one pair, TransformerLens's own patching on the bridge, a part", transformer_lens)

    def hooks() -> dict[str, Any]:
        states = model.residual_stream(batches[0], positions="all").resid
        sets = [[_swap(states, depth, position, 1)] for depth, position in some]

        def sweep() -> Tensor:
            runs = [logits[0, 0] for logits in model.run_edits(batches[1], sets)]
            return torch.stack([difference(run) for run in runs])

        values, seconds = bench.timed(sweep)
        return entry("hooks", values, seconds, len(some))

    bench.part("one pair, lensdepth's plain hooks, a part", hooks)

    def nnsight() -> dict[str, Any]:
        if find_spec("nnsight") is None:
            return {"left_out": "nnsight is not installed"}
        from nnsight import NNsight  # type: ignore[import-not-found]

        hf = hugging_face(bench.shape, bench.device, model.dtype)
        wrapped = NNsight(hf)
        blocks = wrapped.model.layers

        @torch.no_grad()
        def sweep(sites: Sequence[tuple[int, int]]) -> Tensor:
            states = hf(clean, output_hidden_states=True, use_cache=False).hidden_states
            values = []
            for depth in sorted({depth for depth, _ in sites}):
                rows = [position for at, position in sites if at == depth]
                with wrapped.trace(corrupted.repeat(len(rows), 1), use_cache=False):
                    for row, position in enumerate(rows):
                        blocks[depth].input[row, position] = states[depth][0, position]
                    logits = wrapped.lm_head.output[:, -1].save()
                values.append(difference(logits))
            return torch.cat(values)

        sweep(some[:2])
        values, seconds = bench.timed(lambda: sweep(some))
        return entry("nnsight", values, seconds, len(some))

    bench.part("one pair, nnsight, the sites of a layer as one batch, a part", nnsight)


def _swap(states: Tensor, depth: int, position: int, n_pairs: int) -> SiteEdit:
    return SiteEdit(
        hook=depth_hook(depth, len(states) - 1),
        positions=torch.full((n_pairs,), position),
        edit=polar.full_swap,
        source=states[depth, :, position],
    )


def main() -> None:
    """Build the model and run the parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-8b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16")
    parser.add_argument("--pairs", type=int, default=64, help="of the curves")
    parser.add_argument("--map-pairs", type=int, default=4, help="of the full map")
    parser.add_argument("--tokens", type=int, default=64, help="of the map's prompts")
    parser.add_argument("--peer-runs", type=int, default=64, help="runs of each peer")
    parser.add_argument("--peak", type=float, default=PEAK, help="TFLOP/s by the data sheet")
    parser.add_argument("--minutes", type=float, default=3.5, help="no part begins later")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        print("gpu: there is no GPU here; --shape tiny --device cpu tries it on a processor.")
        return
    start = time.perf_counter()
    dtype = DTYPES[options.dtype]
    bench = Bench(
        shape=options.shape,
        device=options.device,
        peak=options.peak,
        until=start + 60 * options.minutes,
        sizes=Sizes.of(options.shape),
        out=options.out,
    )
    named = {name: value for name, value in vars(options).items() if name != "out"}
    device = platform.processor() or platform.machine()
    if options.device != "cpu":
        device = torch.cuda.get_device_name()
    about = {"date": str(date.today()), "device": device, "options": named, "versions": versions()}
    bench.result |= about
    print(json.dumps(about), flush=True)
    forms = {form: draw_rows("months", n=options.pairs, seed=0, form=form) for form in FORMS}
    texts = [
        f"{text} {answer}"
        for rows in forms.values()
        for row in rows
        for text, answer in ((row.clean, row.target), (row.corrupted, row.foil))
    ]
    model, seconds = bench.timed(lambda: depth_model(options.shape, options.device, dtype, texts))
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters()) / 2**30
    bench.keep("model built", {"seconds": seconds, "weights_gib": weights})
    size = 8192 if options.device != "cpu" else 256
    bench.part("one large product", lambda: matmul_rate(bench, dtype, size))
    tasks: dict[Form, Task] = {
        form: load_task("months", model, n=options.pairs, form=form, keep="all") for form in FORMS
    }
    analyses(bench, model, tasks)
    large_map(bench, model, options.map_pairs, options.tokens)
    peers(bench, model, options.tokens, options.peer_runs)
    bench.part(
        "geometry, measured on the processor", lambda: geometry(bench, model, tasks["few-shot"])
    )
    bench.result["minutes"] = (time.perf_counter() - start) / 60
    bench.write()
    print(f"{bench.result['minutes']:.1f} minutes", flush=True)


if __name__ == "__main__":
    main()
