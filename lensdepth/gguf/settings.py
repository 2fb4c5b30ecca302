"""From the metadata of a GGUF file to a configuration of transformers.

llama.cpp and transformers give the same numbers other names, and some live in one of the two alone:
llama.cpp bakes Llama 3's rotary scaling into a tensor, and knows Gemma's attention scale by the
number of blocks. transformers' own reader of GGUF leaves such things at its defaults, which are
those of one model, and says nothing. Here whatever changes numbers is read, or refused.
"""

import logging
import math
from collections.abc import Sequence

import numpy as np

from lensdepth.gguf.header import Header
from lensdepth.outside import heading, shown
from lensdepth.telling.plain import Json

logger = logging.getLogger(__name__)


MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "gpt2": "gpt2",
}
"""Architectures that are read, by llama.cpp's names; those of Mistral are its `llama`."""
_SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
_SCALED = (
    "attention.scale",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
    "expert_count",
    "attention.kv_lora_rank",
)
"""Keys that would change numbers, and that none of these models has."""
_READ = {
    *_SIZES,
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.causal",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.global.freq_base",
    "rope.local.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "vocab_size",
    "tensor_data_layout",
}
"""Keys of an architecture that are taken up here, or that say nothing of numbers."""
_ELSEWHERE = ("vision.", "mm.", *_SCALED)
"""How keys begin that are of eyes, which are not loaded, or refused where they are set."""
ROTARY_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that are part of a configuration, in transformers."""
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""What all of Llama 3.1, 3.2 and 3.3 have; the factor is the tensor's own largest."""


def configuration(header: Header, rotary: dict[str, np.ndarray], name: str) -> Json:
    """The configuration that transformers builds this model from.

    Args:
        header: of the file.
        rotary: those of `ROTARY_TENSORS` that it holds, unpacked.
        name: of the model, for messages.
    Raises:
        ValueError: an architecture that is not read, a number that is lacking, or one that would
            change what is computed in a way that nothing here knows.
    """
    kind, said = header.architecture, f"load_model: the GGUF file {shown(name)}"
    if kind not in MODEL_TYPES:
        raise ValueError(
            f"{said} holds the architecture {shown(kind)}; read are {', '.join(MODEL_TYPES)}. Take "
            f"the model in Hugging Face format."
        )
    _check_keys(header, said)
    sizes = {key: header.of(key) for key in _SIZES}
    for key, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(
                f"{said} gives {kind}.{key} as {shown(value)}; one whole number is needed."
            )
    heads = sizes["attention.head_count"]
    config: Json = {_SIZES[key]: value for key, value in sizes.items()}
    config |= {
        "model_type": MODEL_TYPES[kind],
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **_special(header),
    }
    if kind == "gpt2":
        return config | _gpt2(config, header)
    d_head = header.number("attention.key_length") or _from_rotary(header)
    d_head = d_head or config["hidden_size"] // max(heads, 1)
    if (header.number("attention.value_length") or d_head) != d_head:
        raise ValueError(
            f"{said} has heads whose values are of another width than their keys; none of the "
            f"models that are read has."
        )
    config |= {
        "head_dim": d_head,
        "num_key_value_heads": (header.number("attention.head_count_kv") or heads),
        "rms_norm_eps": (header.number("attention.layer_norm_rms_epsilon") or 1e-6),
        "rope_parameters": _rotary(header, rotary, d_head, config, said),
    }
    biased = "blk.0.attn_q.bias" in header.tensors
    if kind in ("llama", "qwen3"):
        config["attention_bias"] = biased
    window = header.number("attention.sliding_window") or None
    if kind == "llama" and window:
        config |= {"model_type": "mistral", "sliding_window": window}
    if kind == "llama" and "blk.0.ffn_up.bias" in header.tensors:
        config["mlp_bias"] = True
    if kind == "phi3":
        # Phi-3's padding token has a default that other vocabularies are too small for.
        config |= {"sliding_window": window, "pad_token_id": config.get("pad_token_id")}
    return config | (_gemma(header, config, window) if kind.startswith("gemma") else {})


def _check_keys(header: Header, said: str) -> None:
    kind = header.architecture
    for key in _SCALED:
        if header.of(key):
            raise ValueError(
                f"{said} sets {kind}.{key} to {shown(header.of(key))}, which changes its numbers "
                f"in a way that is not read. Take the model in Hugging Face format."
            )
    if header.of("attention.causal") is False:
        raise ValueError(f"{said} reads in both directions; lensdepth needs a causal decoder.")
    own = [key.removeprefix(f"{kind}.") for key in header.metadata if key.startswith(f"{kind}.")]
    unread = [key for key in own if key not in _READ and not key.startswith(_ELSEWHERE)]
    for key in unread:
        if header.of(key):
            logger.warning(
                "%s: its file sets %s.%s to %s, which is not read.",
                heading(header.path.name),
                kind,
                shown(key)[1:-1],
                shown(header.of(key)),
            )


def _special(header: Header) -> Json:
    keys = {"bos": "bos", "eos": "eos", "pad": "padding"}
    found = {
        f"{ours}_token_id": header.metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        for ours, theirs in keys.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def _from_rotary(header: Header) -> int | None:
    """Llama's heads turn whole, so that the rotary width is theirs; Phi's need not."""
    return header.number("rope.dimension_count") if header.architecture == "llama" else None


def _gpt2(config: Json, header: Header) -> Json:
    return {
        "n_positions": config["max_position_embeddings"],
        "n_inner": config["intermediate_size"],
        "layer_norm_epsilon": (header.number("attention.layer_norm_epsilon") or 1e-5),
    }


def _gemma(header: Header, config: Json, window: int | None) -> Json:
    """What llama.cpp knows of Gemma by itself."""
    third = header.architecture == "gemma3"
    blocks = config["num_hidden_layers"]
    pattern = header.of("attention.sliding_window_pattern") or (6 if third else 2)
    slides = (
        [bool(each) for each in pattern]
        if isinstance(pattern, list)
        else [(block + 1) % int(pattern) != 0 for block in range(blocks)]
    )
    kinds = ["sliding_attention" if each else "full_attention" for each in slides]
    # The largest ones scale attention by the width of a head as if heads made up the states.
    largest = blocks == (62 if third else 46)
    scale = config["hidden_size"] // config["num_attention_heads"]
    caps = {} if third else {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    given = {
        key: header.number(key) for key in ("attn_logit_softcapping", "final_logit_softcapping")
    }
    return {
        "layer_types": kinds,
        "sliding_window": window or 4096,
        "query_pre_attn_scalar": scale if largest else config["head_dim"],
        "hidden_activation": "gelu_pytorch_tanh",
        **caps,
        **{key: value for key, value in given.items() if value},
    }


def _rotary(
    header: Header, tensors: dict[str, np.ndarray], d_head: int, config: Json, said: str
) -> Json:
    """How positions turn queries and keys."""
    theta = header.number("rope.freq_base") or header.number("rope.global.freq_base") or 10000.0
    turned = header.number("rope.dimension_count") or d_head
    full = {"rope_theta": theta, **_scaling(header, tensors, theta, turned, config, said)}
    if header.architecture == "gemma3":
        sliding = {
            "rope_type": "default",
            "rope_theta": header.number("rope.freq_base_swa")
            or (header.number("rope.local.freq_base") or 10000.0),
        }
        return {"full_attention": full, "sliding_attention": sliding}
    if turned != d_head:
        if header.architecture != "phi3":
            raise ValueError(
                f"{said} turns {turned} of the {d_head} numbers of a head by position, which its "
                f"architecture does not do in transformers. Take it in Hugging Face format."
            )
        full["partial_rotary_factor"] = turned / d_head
    return full


def _scaling(
    header: Header,
    tensors: dict[str, np.ndarray],
    theta: float,
    turned: int,
    config: Json,
    said: str,
) -> Json:
    kind = header.of("rope.scaling.type", "none")
    factor = header.number("rope.scaling.factor") or header.number("rope.scale_linear") or 1.0
    original = header.number("rope.scaling.original_context_length")
    if "rope_freqs.weight" in tensors:
        if kind != "none":
            raise ValueError(
                f"{said} has rotary factors and scaling of kind {shown(kind)} at once."
            )
        return _llama3(tensors["rope_freqs.weight"], theta, turned, said)
    long, short = (tensors.get(f"rope_factors_{each}.weight") for each in ("long", "short"))
    if long is not None and short is not None:
        if not isinstance(original, int):
            raise ValueError(
                f"{said} has rotary factors for long prompts, and does not say for which; take it "
                f"in Hugging Face format."
            )
        given = header.number("rope.scaling.attn_factor")
        ratio = config["max_position_embeddings"] / original
        own = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
        return {
            "rope_type": "longrope",
            "long_factor": long.tolist(),
            "short_factor": short.tolist(),
            "original_max_position_embeddings": original,
            "attention_factor": given or own,
        }
    if kind == "linear" or (kind == "none" and factor != 1.0):
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        if (header.number("rope.scaling.attn_factor") or 1.0) != 1.0 or not isinstance(
            original, int
        ):
            raise ValueError(
                f"{said} scales rotary positions by a YaRN that is not read; take it in Hugging "
                f"Face format."
            )
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "beta_fast": (header.number("rope.scaling.yarn_beta_fast") or 32.0),
            "beta_slow": (header.number("rope.scaling.yarn_beta_slow") or 1.0),
        }
    if kind != "none":
        raise ValueError(
            f"{said} scales rotary positions by {shown(kind)}, which is not read. Take it in "
            f"Hugging Face format."
        )
    return {"rope_type": "default"}


def _llama3(factors: np.ndarray, theta: float, turned: int, said: str) -> Json:
    """Llama 3's scaling, of which llama.cpp keeps what it comes to: one factor a frequency."""
    settings = {"rope_type": "llama3", "factor": float(factors.max()), **_LLAMA3}
    if np.allclose(factors, 1.0):
        return {"rope_type": "default"}
    if not np.allclose(factors, llama3_factors(settings, theta, turned), rtol=1e-3):
        raise ValueError(
            f"{said} scales rotary positions by factors that are not those of Llama 3, which is "
            f"not read. Take it in Hugging Face format."
        )
    return settings


def llama3_factors(settings: Json, theta: float, turned: int) -> Sequence[float]:
    """By how much each frequency is slowed: one, the factor, or in between where waves are long."""
    low, high, factor = (settings[key] for key in ("low_freq_factor", "high_freq_factor", "factor"))
    original = settings["original_max_position_embeddings"]
    found = []
    for i in range(0, turned, 2):
        waves = original / (2 * math.pi * theta ** (i / turned))  # in the original context
        if waves > high:
            found.append(1.0)
        elif waves < low:
            found.append(factor)
        else:
            smooth = (waves - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return found
