"""`load_model`: from a name or a folder to a `DepthModel`."""

import copy
import threading
from pathlib import Path

import torch

from lensdepth.arguments import checked
from lensdepth.checkpoint import load_checkpoint
from lensdepth.conversion import BackendChoice, convert
from lensdepth.devices import DeviceMap, Spread, check_spread, parse_device_map, parse_dtype
from lensdepth.known import described
from lensdepth.model import DepthModel
from lensdepth.packed import Quantize, check_packing

LOADING = threading.Lock()
"""One model is loaded at a time: transformers changes torch's default dtype meanwhile."""


@checked
def load_model(
    name_or_path: str | Path,
    *,
    backend: BackendChoice = "auto",
    device: str | torch.device | None = None,
    device_map: DeviceMap | None = None,
    dtype: str | torch.dtype = "float32",
    quantize: Quantize | None = None,
    name: str | None = None,
    trust_remote_code: bool = False,
    double_bos: bool = True,
    file: str | None = None,
    revision: str | None = None,
    subfolder: str = "",
) -> DepthModel:
    """Load a decoder-only model with raw weights.

    Args:
        name_or_path: a bundled model ("calendar", "tiny"; "tiny@500" is it after so many training
            steps, of those that `lensdepth models` lists), one that `lensdepth fetch` downloaded
            ("smollm2", "gemma3-270m"), a folder in Hugging Face format, a GGUF
            file or a folder with one, `ollama:NAME[:TAG]`
            (what Ollama holds here), or a name on the Hugging Face hub (`name` or
            `name@revision`), tried in this order. An adapter beside the weights is merged into
            them, which needs peft. A GGUF file, which needs `lensdepth[gguf]`, is unpacked into
            float32 once and kept in the cache; `info.quantization` says how it was packed.
        backend: `"auto"` takes HookedTransformer where the installed TransformerLens has it and
            it reproduces this model's Hugging Face logits, else the bridge. Either takes the
            weights over where they lie; a HookedTransformer has embedding and unembedding apart.
        device: such as `"cpu"` or `"cuda:1"`; None takes a CUDA device where there is one.
        device_map: the same as transformers takes it: `"auto"` (the CUDA device with most room,
            else the CPU), a device, or modules by device. `"balanced"`, `"sequential"` and maps of
            several CUDA devices spread the blocks over them, on the bridge; the engine follows.
            Nothing is offloaded to the CPU or the disk, which TransformerLens does not run.
        dtype: `"float32"`, `"float16"`, `"bfloat16"` or `"float64"`.
        quantize: `"int8"` or `"nf4"` packs the matrices of the blocks, which needs
            `lensdepth[bitsandbytes]`, and keeps them so: on the bridge alone, without gradients
            (no attribution), and with untrained twins in full. `info.quantization` says it.
        name: what to call it in results.
        trust_remote_code: run code that comes with the model.
        double_bos: see `DepthModel`.
        file: the GGUF file to take, of a folder or a repository that holds several.
        revision: branch, tag or commit of a repository on the hub, such as a training checkpoint.
        subfolder: where in the folder or repository the model lies.
    Raises:
        ValueError: one line: no such model (the nearest names are offered), not a causal decoder,
            missing or damaged files, weights that are not finite, no such device or dtype, or a
            backend that cannot hold it.
    """
    if backend not in ("auto", "hooked", "bridge"):
        raise ValueError(
            f"load_model: backend must be 'auto', 'hooked' or 'bridge', got {backend!r}."
        )
    numbers = parse_dtype(dtype)
    place = parse_device_map(device, device_map)
    if isinstance(place, Spread):
        check_spread(backend, quantize)
        backend = "bridge"
    if quantize is not None:
        check_packing(quantize, backend, str(name_or_path))
        backend = "bridge"
    # Weights that are made in inference mode can never be differentiated.
    with LOADING, torch.inference_mode(False):
        checkpoint = load_checkpoint(
            name_or_path,
            device=place,
            dtype=numbers,
            quantize=quantize,
            trust_remote_code=trust_remote_code,
            file=file,
            revision=revision,
            subfolder=subfolder,
        )
        configuration = copy.deepcopy(checkpoint.hf_model.config)
        model, _ = convert(checkpoint, backend, numbers)
    wrapped = DepthModel(
        model,
        tokenizer=checkpoint.tokenizer,
        name=name or checkpoint.name,
        double_bos=double_bos,
    )
    # The Hugging Face model gives the same fingerprints whichever backend holds it.
    wrapped.known.info = described(
        wrapped.passes,
        wrapped.tokenizer,
        double_bos=double_bos,
        architecture=checkpoint.architecture,
        weights=checkpoint.fingerprint,
        configuration=checkpoint.configuration,
        quantization=checkpoint.quantization,
        origin=checkpoint.origin,
    )
    wrapped.known.configuration = configuration
    return wrapped
