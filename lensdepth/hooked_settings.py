"""Settings of a HookedTransformer for models of Llama's make, from the configuration's own numbers.

TransformerLens has these by the names of models, which say nothing of a model that somebody made;
their blocks are all of RMS norms, rotary positions and a gated MLP.
"""

import math
from typing import Any

LLAMA_LIKE = {
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
"""Architectures that are described here."""


class Uncovered(Exception):
    """HookedTransformer cannot represent this model."""


def llama_like_settings(architecture: str, config: Any) -> dict[str, Any]:
    """Settings from the config's own numbers, for blocks of RMS norms, rotary and a gated MLP."""
    n_heads, n_kv_heads = config.num_attention_heads, config.num_key_value_heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    gemma = architecture.startswith("Gemma")
    full = rope(config)
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


def rope(config: Any, layer_type: str = "full_attention") -> dict[str, Any]:
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
        "rotary_base_local": rope(config, "sliding_attention")["rope_theta"],
    }
