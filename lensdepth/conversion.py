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
from lensdepth.outside import out_of_memory, outside, reason, shown
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


class Uncovered(Exception):
    """HookedTransformer cannot represent this model."""


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
    probe = _probe(checkpoint.hf_model, getattr(checkpoint.tokenizer, "bos_token_id", None))
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


def _probe(hf_model: Any, bos: int | None) -> Int[Tensor, "batch pos"]:
    """Two prompts spread over the vocabulary that differ in their last token alone.

    They begin with the model's own BOS, at which states are by far the largest in many models.
    """
    config = hf_model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or PROBE_LENGTH
    length = max(2, min(PROBE_LENGTH, longest))
    row = torch.arange(length) * 7919 % config.vocab_size
    if bos is not None and bos < config.vocab_size:
        row[0] = bos
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
    with torch.no_grad(), _library(type(model).__name__):
        logits = model(probe, return_type="logits").float()
    wanted = reference - reference.mean(-1, keepdim=True)
    found = logits - logits.mean(-1, keepdim=True)
    error = float((found - wanted).norm() / wanted.norm().clamp_min(1e-6))
    if not error <= PROBE_TOLERANCE[dtype]:
        raise Uncovered(
            f"its logits differ from Hugging Face's by {error:.1e} of their spread on a probe."
        )


def _bridge(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    with _library("TransformerBridge"):
        from transformer_lens.model_bridge import TransformerBridge

        # The bridge adds special tokens to the tokenizer it is given, so it gets a copy.
        return TransformerBridge.boot_transformers(
            checkpoint.source,
            hf_model=checkpoint.hf_model,
            tokenizer=copy.deepcopy(checkpoint.tokenizer),
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
            model = hooked(cfg, tokenizer=copy.deepcopy(checkpoint.tokenizer))
        model.load_and_process_state_dict(
            weights,
            fold_ln=False,
            center_writing_weights=False,
            center_unembed=False,
            fold_value_biases=False,
        )
    # The unembedding transposes W_U and makes that contiguous in every call, which for a large
    # vocabulary takes longer than the product. Laid out this way it is contiguous already.
    weight = model.unembed.W_U
    weight.data = weight.data.T.contiguous().T
    return model.eval()


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


_LLAMA_LIKE = {
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Phi3ForCausalLM",
    "Olmo2ForCausalLM",
}


def _hooked_settings(hf_model: Any) -> dict[str, Any]:
    """Settings of a HookedTransformerConfig."""
    config = hf_model.config
    own = type(hf_model).__module__.startswith("transformers.")  # and no code from elsewhere
    if own and type(hf_model).__name__ in _LLAMA_LIKE:
        return _llama_like_settings(type(hf_model).__name__, config)
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
        settings["rotary_base"] = _rope(config)["rope_theta"]
    return settings


def _llama_like_settings(architecture: str, config: Any) -> dict[str, Any]:
    """Settings from the config's own numbers, for blocks of RMS norms, rotary and a gated MLP."""
    n_heads, n_kv_heads = config.num_attention_heads, config.num_key_value_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    gemma = architecture.startswith("Gemma")
    full = _rope(config)
    settings = {
        "d_model": config.hidden_size,
        "d_head": d_head,
        "n_heads": n_heads,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "eps": config.rms_norm_eps,
        "act_fn": getattr(config, "hidden_activation", None) or config.hidden_act,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
        "rotary_dim": int(d_head * (full.get("partial_rotary_factor") or 1.0)),
        "rotary_base": full["rope_theta"],
        "attn_scale": math.sqrt(getattr(config, "query_pre_attn_scalar", None) or d_head),
        "attn_scores_soft_cap": getattr(config, "attn_logit_softcapping", None) or -1.0,
        "output_logits_soft_cap": getattr(config, "final_logit_softcapping", None) or -1.0,
        "use_qk_norm": architecture in ("Qwen3ForCausalLM", "Gemma3ForCausalLM"),
        "use_normalization_before_and_after": gemma and architecture != "GemmaForCausalLM",
        # The conversions of these architectures write grouped keys and values in any case.
        "n_key_value_heads": None
        if n_kv_heads == n_heads and not _always_grouped(architecture)
        else n_kv_heads,
    }
    return settings | _rope_scaling(full, config) | _windows(config)


def _always_grouped(architecture: str) -> bool:
    return architecture.startswith(("Gemma", "Mistral", "Qwen2"))


def _rope(config: Any, layer_type: str = "full_attention") -> dict[str, Any]:
    """Rotary parameters, which some configs give by layer type."""
    parameters = getattr(config, "rope_parameters", None) or {}
    parameters = parameters.get(layer_type, parameters)
    return {"rope_theta": 10000.0, **parameters}


def _rope_scaling(full: dict[str, Any], config: Any) -> dict[str, Any]:
    kind = full.get("rope_type") or "default"
    if kind == "default":
        return {}
    if kind == "linear":
        return {"rotary_scaling_factor": full["factor"]}
    if kind == "llama3":
        return {
            "use_NTK_by_parts_rope": True,
            "NTK_original_ctx_len": full.get(
                "original_max_position_embeddings", config.max_position_embeddings
            ),
            "NTK_by_parts_low_freq_factor": full["low_freq_factor"],
            "NTK_by_parts_high_freq_factor": full["high_freq_factor"],
            "NTK_by_parts_factor": full["factor"],
        }
    raise Uncovered(f"it has no rotary scaling of kind {kind!r}.")


def _windows(config: Any) -> dict[str, Any]:
    """Sliding windows, by layer where the config says so, and their own rotary base."""
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "use_sliding_window", True) is False:
        return {}
    everywhere = ["sliding_attention"] * config.num_hidden_layers
    layer_types = getattr(config, "layer_types", None) or everywhere
    sliding = ["local" if kind == "sliding_attention" else "global" for kind in layer_types]
    return {
        "use_local_attn": True,
        "window_size": window,
        "attn_types": sliding,
        "rotary_base_local": _rope(config, "sliding_attention")["rope_theta"],
    }
