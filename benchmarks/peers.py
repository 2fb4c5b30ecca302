"""One plain function a way of sweeping `resid_pre` over layers and positions, and a server.

Each function gives the logit difference at the last position, `[layer, position]`, for every
patch of a clean state into the corrupted run. Reading the clean states is part of the work.

As a program it loads what it needs and then runs one way a line of standard input, so that a
parent can take turns between environments that do not go together:

    python -m benchmarks.peers --shape gpt2 --seq 16 --ways plain,lensdepth_bridge
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.memory import memory_gib
from benchmarks.shapes import ANSWERS, folder, pair

Sweep = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""(clean tokens, corrupted tokens, positions) -> logit differences `[layer, position]`."""


def plain(path: Path, device: str) -> Sweep:
    """A Hugging Face model, one hook and one forward pass a patch."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(path)
    model.eval().to(device)
    blocks = list(model.base_model.h if hasattr(model.base_model, "h") else model.base_model.layers)

    @torch.no_grad()
    def sweep(clean: Tensor, corrupted: Tensor, positions: Sequence[int]) -> Tensor:
        states = model(clean, output_hidden_states=True).hidden_states
        out = torch.empty(len(blocks), len(positions))
        for layer, block in enumerate(blocks):
            for column, position in enumerate(positions):
                clean_state = states[layer][:, position]

                def patch(
                    module: Any, args: Any, kwargs: Any, at: int = position, put: Any = clean_state
                ) -> Any:
                    x = (args[0] if args else kwargs["hidden_states"]).clone()
                    x[:, at] = put
                    if args:
                        return (x, *args[1:]), kwargs
                    return args, {**kwargs, "hidden_states": x}

                handle = block.register_forward_pre_hook(patch, with_kwargs=True)
                try:
                    logits = model(corrupted, use_cache=False).logits[0, -1]
                finally:
                    handle.remove()
                out[layer, column] = logits[ANSWERS[0]] - logits[ANSWERS[1]]
        return out

    return sweep


def _transformer_lens(path: Path, device: str, backend: str) -> Sweep:
    import pandas as pd
    from transformer_lens import patching

    from lensdepth import load_model

    model = load_model(path, device=device, backend=backend).model  # type: ignore[arg-type]

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, ANSWERS[0]] - logits[0, -1, ANSWERS[1]]

    @torch.no_grad()
    def sweep(clean: Tensor, corrupted: Tensor, positions: Sequence[int]) -> Tensor:
        _, cache = model.run_with_cache(clean)
        sites = [(layer, position) for layer in range(model.cfg.n_layers) for position in positions]
        # What its get_act_patch_resid_pre calls, told which positions.
        found = patching.generic_activation_patch(
            model,
            corrupted,
            cache,
            metric,
            patching.layer_pos_patch_setter,
            "resid_pre",
            index_df=pd.DataFrame(sites, columns=["layer", "pos"]),
        )
        values = found if isinstance(found, Tensor) else found.values
        return values.view(-1, len(positions))

    return sweep


def transformer_lens_hooked(path: Path, device: str) -> Sweep:
    """TransformerLens 3.9, HookedTransformer, its own patching."""
    return _transformer_lens(path, device, "hooked")


def transformer_lens_bridge(path: Path, device: str) -> Sweep:
    """TransformerLens 4, TransformerBridge, its own patching."""
    return _transformer_lens(path, device, "bridge")


def nnsight(path: Path, device: str) -> Sweep:
    """nnsight, all positions of a layer as invokes of one trace."""
    from nnsight import NNsight  # type: ignore[import-not-found]
    from transformers import AutoModelForCausalLM

    hf: Any = AutoModelForCausalLM.from_pretrained(path)
    hf.eval().to(device)
    model = NNsight(hf)
    base = model.transformer if hasattr(hf, "transformer") else model.model
    blocks = base.h if hasattr(hf, "transformer") else base.layers

    @torch.no_grad()
    def sweep(clean: Tensor, corrupted: Tensor, positions: Sequence[int]) -> Tensor:
        states = hf(clean, output_hidden_states=True).hidden_states
        n = len(positions)
        out = torch.empty(len(states) - 1, n)
        for layer in range(len(states) - 1):
            with model.trace(corrupted.repeat(n, 1), use_cache=False):
                # One batch row a position: what an invoke a row comes to, without its overhead.
                for row, position in enumerate(positions):
                    blocks[layer].input[row, position] = states[layer][0, position]
                logits = model.lm_head.output[:, -1].save()
            out[layer] = logits[:, ANSWERS[0]] - logits[:, ANSWERS[1]]
        return out

    return sweep


def pyvene(path: Path, device: str) -> Sweep:
    """pyvene, all positions of a layer as one batch."""
    import pyvene as pv  # type: ignore[import-not-found]
    from transformers import AutoModelForCausalLM

    hf: Any = AutoModelForCausalLM.from_pretrained(path)
    hf.eval().to(device)
    n_layers = hf.config.num_hidden_layers

    def on_layer(layer: int) -> Any:
        intervention = {
            "layer": layer,
            "component": "block_input",
            "intervention_type": pv.VanillaIntervention,
        }
        return pv.IntervenableModel(intervention, model=hf)

    models = [on_layer(layer) for layer in range(n_layers)]

    @torch.no_grad()
    def sweep(clean: Tensor, corrupted: Tensor, positions: Sequence[int]) -> Tensor:
        n = len(positions)
        where = [[[position] for position in positions]]
        out = torch.empty(n_layers, n)
        for layer, model in enumerate(models):
            _, edited = model(
                base={"input_ids": corrupted.repeat(n, 1)},
                sources=[{"input_ids": clean.repeat(n, 1)}],
                unit_locations={"sources->base": (where, where)},
            )
            logits = edited.logits[:, -1]
            out[layer] = logits[:, ANSWERS[0]] - logits[:, ANSWERS[1]]
        return out

    return sweep


def _lensdepth(path: Path, device: str, backend: str) -> Sweep:
    from lensdepth import load_model, polar
    from lensdepth.hooks import SiteEdit
    from lensdepth.replay import replay_measure
    from lensdepth.site import depth_hook

    model = load_model(path, device=device, backend=backend)  # type: ignore[arg-type]

    def sweep(clean: Tensor, corrupted: Tensor, positions: Sequence[int]) -> Tensor:
        n_layers = model.n_layers
        batch = model.tokenize(corrupted)
        states = model.residual_stream(clean, positions="all").resid
        # What the two prompts share at the start has the same states in both.
        first = int((clean != corrupted)[0].int().argmax())
        needed = [position for position in positions if position >= first]
        sites = [(layer, position) for layer in range(n_layers) for position in needed]
        sets = [
            [
                SiteEdit(
                    hook=depth_hook(layer, n_layers),
                    positions=torch.tensor([position]),
                    edit=polar.full_swap,
                    source=states[layer, :, position],
                )
            ]
            for layer, position in sites
        ]
        read = replay_measure(
            model,
            batch,
            [[], *sets],
            lambda logits, _: {"logit_diff": logits[:, 0] - logits[:, 1]},
            columns=torch.tensor([ANSWERS]),
            engine="replay",
        )["logit_diff"][:, 0]
        out = read[:1].expand(n_layers, len(positions)).clone()
        out[:, len(positions) - len(needed) :] = read[1:].view(n_layers, len(needed))
        return out

    return sweep


def lensdepth_bridge(path: Path, device: str) -> Sweep:
    """lensdepth's engine on the Hugging Face blocks under a TransformerBridge."""
    return _lensdepth(path, device, "bridge")


def lensdepth_hooked(path: Path, device: str) -> Sweep:
    """lensdepth's engine on the blocks of a HookedTransformer."""
    return _lensdepth(path, device, "hooked")


WAYS: dict[str, Callable[[Path, str], Sweep]] = {
    way.__name__: way
    for way in (
        plain,
        transformer_lens_hooked,
        transformer_lens_bridge,
        nnsight,
        pyvene,
        lensdepth_hooked,
        lensdepth_bridge,
    )
}


def matmul_rate(device: str, n_tokens: int = 1632, d_in: int = 768, d_out: int = 3072) -> float:
    """Float32 operations a second of this machine in one large product, best of five."""
    a, b = torch.randn(n_tokens, d_in, device=device), torch.randn(d_in, d_out, device=device)
    best = 0.0
    for _ in range(5):
        torch.mm(a, b)[0, 0].item()  # waits until a GPU is done
        start = time.perf_counter()
        products = [torch.mm(a, b) for _ in range(5)]
        products[-1][0, 0].item()
        best = max(best, 5 * 2 * n_tokens * d_in * d_out / (time.perf_counter() - start))
    return best


def versions() -> dict[str, str]:
    """Of what the ways stand on, as far as it is installed."""
    found = {}
    for package in ("torch", "transformers", "transformer-lens", "nnsight", "pyvene", "lensdepth"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def serve() -> None:
    """Load the asked ways, then run one for each line that comes in."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="gpt2")
    parser.add_argument("--seq", type=int, default=16)
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        path = folder(options.shape, Path(root))
        sweeps = {name: WAYS[name](path, options.device) for name in options.ways.split(",")}
    d_vocab = 50257 if options.shape == "gpt2" else 32000
    clean, corrupted = pair(d_vocab, options.seq, options.shared)
    clean, corrupted = clean.to(options.device), corrupted.to(options.device)
    about = {"ready": versions(), "matmul": matmul_rate(options.device)}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        effects = sweeps[name](clean, corrupted, range(0, options.seq, options.every)).cpu()
        seconds = time.perf_counter() - start
        peak = memory_gib("VmHWM")
        answer = {"way": name, "seconds": seconds, "effects": effects.tolist(), "peak_gib": peak}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
