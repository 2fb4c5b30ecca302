"""From a Hugging Face model to a TransformerLens one with the same raw weights.

HookedTransformer exists up to TransformerLens 3, and loads only models that it knows by name. Its
weight conversions work for any model of an architecture that it knows, given a configuration, and
that is what this file writes. Every model made here, on either backend, has reproduced the logits
of the Hugging Face model on a short probe.
"""

import copy
import logging
import math
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.checkpoint import Checkpoint
from lensdepth.finite import NotFinite, advice
from lensdepth.hooked_settings import LLAMA_LIKE, Uncovered, llama_like_settings, rope
from lensdepth.outside import out_of_memory, outside, reason, shown
from lensdepth.passes import Passes
from lensdepth.provenance import Backend

logger = logging.getLogger(__name__)

BackendChoice = Literal["auto", "hooked", "bridge"]
PROBE_LENGTH = 32
PROBE_TOLERANCE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.float16: 0.02,
    torch.bfloat16: 0.1,
}
"""Largest accepted error of the logits on the probe, as a share of their own spread."""


LARGEST_TABLES = 2**30
"""Bytes of rotary tables that are accepted beside as many as the weights take."""


class _library(outside):
    """Round what TransformerLens does: what it cannot do is `Uncovered`.

    Too little memory is a `ValueError`: it says nothing about the model.
    """

    def __init__(self, backend: str) -> None:
        super().__init__("TransformerLens said", kind=Uncovered)
        self.backend = backend

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if out_of_memory(error):
            other = ", or backend='bridge', which copies none" * (self.backend[0] == "H")
            raise ValueError(
                f"load_model: there is not enough memory for the weights of a {self.backend}; "
                f"take a narrower dtype{other}."
            ) from error
        super().__exit__(kind, error, trace)


def convert(
    checkpoint: Checkpoint, backend: BackendChoice, dtype: torch.dtype
) -> tuple[Any, Backend]:
    """The TransformerLens model of a checkpoint, and which backend it came to be.

    `"auto"` takes HookedTransformer where the installed TransformerLens has it and it reproduces
    the model, else the bridge. The Hugging Face model is used up: the bridge is built in it.

    Raises:
        ValueError: the backend asked for does not exist here or does not reproduce the model.
    """
    probe = _probe(checkpoint.hf_model, checkpoint.tokenizer)
    with torch.no_grad(), outside(f"load_model: {shown(checkpoint.name)} cannot be run on a probe"):
        reference = checkpoint.hf_model(probe, use_cache=False).logits.float()
    if not torch.isfinite(reference).all():
        raise _overflow(checkpoint, probe, dtype)
    _check_reference(reference, checkpoint.name)
    if backend != "bridge":
        try:
            model = _hooked(checkpoint, dtype)
            _compare(model, probe, reference, dtype)
            return model, "hooked"
        except Uncovered as error:
            if backend == "hooked":
                raise ValueError(
                    f"load_model: HookedTransformer cannot hold {shown(checkpoint.name)} "
                    f"({checkpoint.architecture}): {error} Use backend='bridge'."
                ) from error
            if has_hooked_transformer():
                logger.warning("%s is on the bridge: %s", checkpoint.name, error)
    try:
        model = _bridge(checkpoint, dtype)
        _compare(model, probe, reference, dtype)
    except Uncovered as error:
        raise ValueError(
            f"load_model: TransformerBridge cannot hold {shown(checkpoint.name)} "
            f"({checkpoint.architecture}): {error}"
        ) from error
    return model, "bridge"


def has_hooked_transformer() -> bool:
    """Whether the installed TransformerLens still has HookedTransformer."""
    return find_spec("transformer_lens.HookedTransformer") is not None


def _probe(hf_model: Any, tokenizer: Any) -> Int[Tensor, "batch pos"]:
    """Two prompts spread over the vocabulary that differ in their last token alone.

    They begin with the model's own BOS, at which states are by far the largest in many models, and
    hold its padding token, which is a token as any other where a prompt has it.
    """
    config = hf_model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or PROBE_LENGTH
    length = max(2, min(PROBE_LENGTH, longest))
    row = torch.arange(length) * 7919 % config.vocab_size
    for place, name in ((length // 2, "pad_token_id"), (0, "bos_token_id")):
        token = getattr(tokenizer, name, None)
        if token is not None and token < config.vocab_size:
            row[place] = token
    rows = torch.stack([row, row])
    rows[1, -1] = (rows[1, -1] + 1) % config.vocab_size
    return rows.to(hf_model.device)


def _overflow(checkpoint: Checkpoint, probe: Tensor, dtype: torch.dtype) -> ValueError:
    """The error about logits of the probe that are not finite: from which depth on."""
    with torch.no_grad():
        found = checkpoint.hf_model(probe, use_cache=False, output_hidden_states=True)
    states = found.hidden_states or ()
    # Hugging Face's last state has been through the final norm.
    depths = [depth for depth, state in enumerate(states[:-1]) if not state.isfinite().all()]
    where = (
        f"the residual stream is not finite from depth {depths[0]} on"
        if depths
        else ("its logits are not finite")
    )
    name = str(dtype).removeprefix("torch.")
    return NotFinite(
        f"load_model: in {name}, {shown(checkpoint.name)} fails on a probe: {where}. "
        f"{advice(dtype)}"
    )


def _check_reference(logits: Float[Tensor, "batch pos d_vocab"], name: str) -> None:
    scale = logits.std().clamp_min(1e-6)
    if (logits[0, :-1] - logits[1, :-1]).abs().max() > 0.01 * scale:
        raise ValueError(
            f"load_model: {shown(name)} is not causal: its earlier predictions change with later "
            f"tokens. lensdepth needs a causal decoder, such as Llama or GPT-2."
        )


def _compare(
    model: Any,
    probe: Int[Tensor, "batch pos"],
    reference: Float[Tensor, "batch pos d_vocab"],
    dtype: torch.dtype,
) -> None:
    # As prompts are run later: TransformerLens's own call would pad on the side that the tokenizer
    # names, and on the left it takes every padding token for none.
    with torch.no_grad(), _library(type(model).__name__):
        logits = Passes(model).forward(probe).float()
    off, size = 0.0, 0.0
    for found, wanted in zip(logits, reference, strict=True):  # a vocabulary may be large
        wanted = wanted - wanted.mean(-1, keepdim=True)
        off += float((found - found.mean(-1, keepdim=True)).sub_(wanted).square_().sum())
        size += float(wanted.square_().sum())
    error = math.sqrt(off) / max(math.sqrt(size), 1e-6)
    if not error <= PROBE_TOLERANCE[dtype]:
        raise Uncovered(
            f"its logits differ from Hugging Face's by {error:.1e} of their spread on a probe."
        )


def _bridge(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    with _library("TransformerBridge"):
        from transformer_lens.model_bridge import TransformerBridge

        return TransformerBridge.boot_transformers(
            checkpoint.source,
            hf_model=checkpoint.hf_model,
            tokenizer=_lent(checkpoint.tokenizer, checkpoint.name),
            device=str(checkpoint.hf_model.device),
            dtype=dtype,
        )


def _hooked(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    if not has_hooked_transformer():
        raise Uncovered("the installed TransformerLens has no HookedTransformer.")
    hf_model = checkpoint.hf_model
    try:
        settings = _hooked_settings(hf_model)
        _check_tables(settings, hf_model)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # It reckons with a file's own values, and transformers does not look at all of them.
        raise Uncovered(f"its configuration gives no settings: {reason(error)}.") from error
    settings |= {
        "model_name": checkpoint.name,
        "tokenizer_name": None,
        "original_architecture": checkpoint.architecture,
        "device": str(hf_model.device),
        "dtype": dtype,
        "init_weights": False,
    }
    with _library("HookedTransformer"):
        # By name, because type checkers see whichever line of TransformerLens is installed.
        hooked = import_module("transformer_lens.HookedTransformer").HookedTransformer
        configs = import_module("transformer_lens.config")
        pretrained = import_module("transformer_lens.loading_from_pretrained")
        cfg = configs.HookedTransformerConfig.from_dict(settings)
        # With a model given, the name serves for special cases alone: any folder will do.
        weights = pretrained.get_pretrained_state_dict(
            str(Path.cwd()), cfg, hf_model=hf_model, dtype=dtype
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            model = hooked(cfg, tokenizer=_lent(checkpoint.tokenizer, checkpoint.name))
        _take_over(model, model.fill_missing_keys(weights))
    return model.eval()


def _take_over(model: Any, weights: dict[str, Tensor]) -> None:
    """Give a HookedTransformer its weights where they lie, as views of Hugging Face's.

    Copying them would take the memory of two models, and it would lay heads out so that the model
    turns them back in every pass. What is tied is parted: TransformerLens folds a norm into one of
    the two.
    """
    own = model.state_dict()
    held = {key: weight.detach().to(own[key]) for key, weight in weights.items() if key in own}
    embed, unembed = held["embed.W_E"], held["unembed.W_U"]
    # The unembedding transposes W_U and makes that contiguous in every call, which for a large
    # vocabulary takes longer than the product. Laid out this way it is contiguous already.
    laid_out = unembed.T.contiguous()
    tied = laid_out.data_ptr() == embed.data_ptr()
    held["unembed.W_U"] = (laid_out.clone() if tied else laid_out).T
    model.load_state_dict(held, strict=False, assign=True)


def _lent(tokenizer: Any, name: str) -> Any:
    """A tokenizer that TransformerLens may change.

    It names the side to pad, adds special tokens that are lacking, and reads the tokenizer anew
    from its files unless that says that it puts a BOS token in front. Where none of this leaves a
    trace, the two share the vocabulary, which for a large one takes as much memory as a third of a
    small model, and half a minute.

    Raises:
        ValueError: it cannot be copied, its file being damaged.
    """
    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    whole = all(getattr(tokenizer, name, None) is not None for name in special)
    if not whole or tokenizer.encode("")[:1] != [tokenizer.bos_token_id]:
        # A copy is read anew from what the original says that it is.
        with outside(
            f"load_model: the tokenizer of {shown(name)} cannot be copied",
            hint="Its tokenizer.json does not fit together: get the file again.",
        ):
            return copy.deepcopy(tokenizer)
    lent = copy.copy(tokenizer)
    lent.init_kwargs = {**tokenizer.init_kwargs, "add_bos_token": True}
    return lent


def _check_tables(settings: dict[str, Any], hf_model: Any) -> None:
    """HookedTransformer keeps rotary tables as long as the context, in every block."""
    if settings.get("positional_embedding_type") != "rotary":
        return
    rows, width = settings["n_ctx"], settings.get("rotary_dim") or settings["d_head"]
    size = 2 * 4 * rows * width * settings["n_layers"]
    if size > LARGEST_TABLES + hf_model.num_parameters() * 4:
        raise Uncovered(
            f"its context of {rows:,} tokens takes {size / 2**30:,.0f} GiB of rotary tables."
        )


def _hooked_settings(hf_model: Any) -> dict[str, Any]:
    """Settings of a HookedTransformerConfig."""
    config = hf_model.config
    own = type(hf_model).__module__.startswith("transformers.")  # and no code from elsewhere
    if own and type(hf_model).__name__ in LLAMA_LIKE:
        return llama_like_settings(type(hf_model).__name__, config)
    # TransformerLens reads a config from a folder, and guesses the architecture from its name.
    with _library("HookedTransformer"):
        pretrained = import_module("transformer_lens.loading_from_pretrained")
    config = copy.deepcopy(config)
    if hasattr(config, "n_positions"):
        config.n_ctx = config.n_positions  # it reads the old name, which newer configs leave out
    with TemporaryDirectory() as folder, _library("HookedTransformer"):
        config.save_pretrained(folder)
        settings = pretrained.convert_hf_model_config(folder)
    inner = getattr(config, "n_inner", None)
    if inner:
        settings["d_mlp"] = inner
    if settings.get("positional_embedding_type") == "rotary":
        settings["rotary_base"] = rope(config)["rope_theta"]
    return settings
