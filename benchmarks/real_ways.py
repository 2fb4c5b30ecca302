"""One question on a real model, asked in several ways: where control passes, and what carries it.

For each pair and each depth five runs of the corrupted prompt: the clean state put in at the input
and at the prediction position, and at the latter its direction alone, its norm alone, and as a
control a turn by the same angle in a random direction. The peers' functions are the shortest honest
script that we could write with each. As a program it runs one way and prints one line of JSON:

    python -m benchmarks.real_ways --way plain --folder FOLDER --pairs PAIRS.json --n 4
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.memory import memory_gib

KINDS = ("input", "prediction", "direction", "norm", "control")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two prompts as tokens."""

    clean: Tensor
    """`[1, pos]`, like the corrupted one."""
    corrupted: Tensor
    clean_at: tuple[int, int]
    """Input and prediction position in the clean prompt."""
    corrupted_at: tuple[int, int]
    answers: tuple[int, int]
    """Target and foil."""

    @classmethod
    def read(cls, row: dict[str, Any]) -> "Pair":
        """As `benchmarks.real` wrote it."""
        read: dict[str, Any] = {name: torch.tensor([row[name]]) for name in ("clean", "corrupted")}
        read |= {name: tuple(row[name]) for name in ("clean_at", "corrupted_at", "answers")}
        return cls(**read)

    def put(self, clean: Tensor, corrupted: Tensor) -> dict[str, tuple[int, Tensor]]:
        """What goes where, from both runs' states of one depth, `[pos, d_model]`."""
        (_, source_at), (at_input, at) = self.clean_at, self.corrupted_at
        source, base = clean[source_at], corrupted[at]
        unit, own = source / source.norm(), base / base.norm()
        aside = torch.randn(len(own), generator=torch.Generator().manual_seed(0))
        aside -= (aside @ own) * own
        cosine = unit @ own
        turned = cosine * own + (1 - cosine**2).clamp(min=0).sqrt() * aside / aside.norm()
        return {
            "input": (at_input, clean[self.clean_at[0]]),
            "prediction": (at, source),
            "direction": (at, unit * base.norm()),
            "norm": (at, own * source.norm()),
            "control": (at, turned * base.norm()),
        }

    def read_out(self, logits: Tensor) -> tuple[float, float]:
        """Logit difference, and whether the target comes first."""
        target, foil = self.answers
        return float(logits[target] - logits[foil]), float(int(logits.argmax()) == target)


Ask = Callable[[Pair], Tensor]
"""pair -> `[kind, depth, reading]`, at the depths 0 ... L - 1."""


def plain(folder: Path) -> Ask:
    """Hugging Face's model, one hook and one forward pass a run."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def ask(pair: Pair) -> Tensor:
        clean = model(pair.clean, output_hidden_states=True).hidden_states
        corrupted = model(pair.corrupted, output_hidden_states=True).hidden_states
        found = torch.empty(len(KINDS), len(model.model.layers), 2)
        for depth, block in enumerate(model.model.layers):
            put = pair.put(clean[depth][0], corrupted[depth][0])
            for kind, (position, state) in enumerate(put.values()):

                def patch(_: Any, given: Any, at: int = position, put: Tensor = state) -> Any:
                    x = given[0].clone()
                    x[:, at] = put
                    return (x, *given[1:])

                handle = block.register_forward_pre_hook(patch)
                logits = model(pair.corrupted, use_cache=False, logits_to_keep=1).logits[0, -1]
                handle.remove()
                found[kind, depth] = torch.tensor(pair.read_out(logits))
        return found

    return ask


def nnsight(folder: Path) -> Ask:
    """nnsight, the five runs of a depth as rows of one batch."""
    from nnsight import NNsight  # type: ignore[import-not-found]
    from transformers import AutoModelForCausalLM

    hf: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model = NNsight(hf)

    def ask(pair: Pair) -> Tensor:
        clean = hf(pair.clean, output_hidden_states=True).hidden_states
        corrupted = hf(pair.corrupted, output_hidden_states=True).hidden_states
        n_layers = len(clean) - 1
        found = torch.empty(len(KINDS), n_layers, 2)
        for depth in range(n_layers):
            put = pair.put(clean[depth][0], corrupted[depth][0])
            with model.trace(pair.corrupted.repeat(len(KINDS), 1), use_cache=False):
                for row, (position, state) in enumerate(put.values()):
                    model.model.layers[depth].input[row, position] = state
                logits = model.lm_head.output[:, -1].save()
            for kind in range(len(KINDS)):
                found[kind, depth] = torch.tensor(pair.read_out(logits[kind]))
        return found

    return ask


def transformer_lens(folder: Path) -> Ask:
    """TransformerLens's own patching, on the backend that its line loads."""
    import pandas as pd
    from transformer_lens import patching

    from lensdepth import load_model

    model: Any = load_model(folder).model
    n_layers = model.cfg.n_layers
    runs = pd.DataFrame(
        [(layer, kind) for layer in range(n_layers) for kind in range(len(KINDS))],
        columns=["layer", "kind"],
    )

    def ask(pair: Pair) -> Tensor:
        _, clean = model.run_with_cache(pair.clean)
        read: list[tuple[float, float]] = []

        def setter(corrupted: Any, index: Any, source: Any) -> Any:
            position, state = list(pair.put(source[0], corrupted[0]).values())[index[1]]
            corrupted[:, position] = state
            return corrupted

        def metric(logits: Any) -> Any:
            read.append(pair.read_out(logits[0, -1]))
            return torch.tensor(read[-1][0])

        patching.generic_activation_patch(
            model, pair.corrupted, clean, metric, setter, "resid_pre", index_df=runs
        )
        return torch.tensor(read).view(n_layers, len(KINDS), 2).movedim(0, 1)

    return ask


def lensdepth(folder: Path, sizes: list[int], task: str, backend: str) -> dict[str, Any]:
    """The same with lensdepth, its intervals included, of the first pairs of a task."""
    from lensdepth import ablation_sweep, find_crossing, load_model, load_task, patch_sweep
    from lensdepth.ablation.told import curves

    model = load_model(folder, backend=backend)  # type: ignore[arg-type]
    pairs = load_task(task, model, n=max(sizes), keep="correct")
    patch_sweep(model, pairs.select(range(2)), depths=[0, 1], controls=())  # compares the engine
    rows = []
    for n in sizes:
        asked = pairs.select(range(n))
        start = time.process_time()
        patch = patch_sweep(model, asked, controls=(), also=("success",))
        crossing = find_crossing(patch)
        ablation = ablation_sweep(model, asked, also=("success",), control_pairs="all")
        curves(ablation)  # with bands
        seconds = time.process_time() - start
        width = crossing.high - crossing.low
        rows.append({"n": n, "seconds": seconds, "depth": crossing.depth, "width": width})
    return {"rows": rows}


WAYS: dict[str, Callable[[Path], Ask]] = {
    "plain": plain,
    "nnsight": nnsight,
    "transformer_lens": transformer_lens,
}


@torch.no_grad()
def main() -> None:
    """Run one way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", required=True, choices=[*WAYS, "lensdepth"])
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--n", required=True, type=int, nargs="+")
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.way == "lensdepth":
        found = lensdepth(options.folder, options.n, options.task, options.backend)
    else:
        pairs = [Pair.read(row) for row in json.loads(options.pairs.read_text())]
        ask = WAYS[options.way](options.folder)
        ask(pairs[-1])  # warms up
        start = time.process_time()
        read = [ask(pair).tolist() for pair in pairs[: options.n[0]]]
        found = {"seconds": (time.process_time() - start) / options.n[0], "read": read}
    found["peak_gib"] = memory_gib("VmHWM")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
