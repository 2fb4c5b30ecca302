"""Tiny models as GGUF files, written by the rules of llama.cpp's convert_hf_to_gguf.py.

The other way round than `lensdepth.gguf`, and written apart from it: what the one changes the other
must take back.
"""

from pathlib import Path
from typing import Any

import architectures
import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

NAMES = {"gemma3_text": "gemma3", "mistral": "llama"}
SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
}


def tiny(config: Any, *, seed: int = 0) -> Any:
    """A random model of a configuration whose vocabulary is the byte-level tokenizer's."""
    tokenizer = architectures.byte_tokenizer()
    config.vocab_size = len(tokenizer)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    architectures.randomise(model, seed)
    return model.eval()


def write(
    model: Any,
    path: Path,
    *,
    kind: str = "F32",
    pre: str | None = "gpt-2",
    tokenizer: PreTrainedTokenizerFast | None = None,
    extra: dict[str, Any] | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """Write a model as a GGUF file.

    Args:
        model: of transformers.
        path: of the file.
        kind: how matrices are packed that can be; vectors are float32.
        pre: the name of the rule by which text is split; None leaves it out.
        tokenizer: byte-level; None takes the tests' own.
        extra: further metadata, in place of what is written else.
        tensors: further tensors.
        without: keys and tensors to leave out.
    """
    config = model.config
    arch = NAMES.get(str(config.model_type), str(config.model_type))
    said: dict[str, Any] = {f"{arch}.{key}": getattr(config, ours) for key, ours in SIZES.items()}
    said[f"{arch}.feed_forward_length"] = getattr(config, "intermediate_size", 4 * 32)
    if arch == "gpt2":
        said["gpt2.attention.layer_norm_epsilon"] = config.layer_norm_epsilon
    else:
        said |= _of_rotary_ones(config, arch)
    own = tokenizer or architectures.byte_tokenizer()
    writer = gguf.GGUFWriter(path, arch)
    said |= _of_tokenizer(own, pre) | (extra or {})
    for key, value in said.items():
        if key not in without:
            _add(writer, key, value)
    kinds = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[arch], config.num_hidden_layers)
    for key, weight in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name is not None, key
        if name in without:
            continue
        plain = _as_llama_cpp(weight.detach().float(), key, arch, config).numpy()
        packed = gguf.GGMLQuantizationType[kind]
        if plain.ndim < 2 or plain.shape[-1] % gguf.GGML_QUANT_SIZES[packed][0]:
            packed = gguf.GGMLQuantizationType.F32
        plain = np.ascontiguousarray(plain)
        writer.add_tensor(name, gguf.quantize(plain, packed), raw_dtype=packed)
    for name, values in (tensors or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _of_rotary_ones(config: Any, arch: str) -> dict[str, Any]:
    rope = config.rope_parameters
    full = rope.get("full_attention", rope)
    d_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    said: dict[str, Any] = {
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "attention.key_length": d_head,
        "attention.value_length": d_head,
        "rope.freq_base": full["rope_theta"],
    }
    if arch in ("llama", "phi3"):
        said["rope.dimension_count"] = int(d_head * full.get("partial_rotary_factor", 1.0))
    if getattr(config, "sliding_window", None) and arch != "qwen2":
        said["attention.sliding_window"] = config.sliding_window
    if arch.startswith("gemma"):
        said["attention.sliding_window_pattern"] = [
            kind == "sliding_attention" for kind in config.layer_types
        ]
    for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(config, cap, None):
            said[cap] = config.__dict__[cap]
    if "sliding_attention" in rope:
        said["rope.freq_base_swa"] = rope["sliding_attention"]["rope_theta"]
    return {f"{arch}.{key}": value for key, value in said.items()}


def _of_tokenizer(tokenizer: PreTrainedTokenizerFast, pre: str | None) -> dict[str, Any]:
    import json

    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = tokenizer.get_vocab()
    special = {entry["id"] for entry in whole["added_tokens"]}
    said: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": sorted(vocab, key=vocab.__getitem__),
        "tokenizer.ggml.token_type": [3 if i in special else 1 for i in range(len(vocab))],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in whole["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.bos_token_id": tokenizer.eos_token_id,
    }
    return said | ({} if pre is None else {"tokenizer.ggml.pre": pre})


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _as_llama_cpp(weight: torch.Tensor, key: str, arch: str, config: Any) -> torch.Tensor:
    if arch == "llama" and ("q_proj" in key or "k_proj" in key):
        n_heads = config.num_attention_heads if "q_proj" in key else config.num_key_value_heads
        halves = weight.reshape(n_heads, 2, -1, *weight.shape[1:])
        return halves.swapaxes(1, 2).reshape(weight.shape)
    if arch.startswith("gemma") and "norm" in key:
        return weight + 1
    if arch == "gpt2" and any(part in key for part in ("c_attn", "c_proj", "c_fc")):
        return weight.T if weight.ndim == 2 else weight
    return weight
