"""Tiny random models in Hugging Face folders, made offline from their configs.

Their weights are large enough that predictions vary, and norms and biases are not left at one and
zero: a test of parity on a model that predicts the same everywhere cannot fail.
"""

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

PACKAGE = Path(__file__).parent.parent / "lensdepth"
PROMPTS = (
    "Two months from January is",
    "Four days from Monday is",
    "When Mary and John went to the store, John gave a drink to",
    "January",
)
D_MODEL, N_LAYERS, N_HEADS, N_CTX = 32, 3, 4, 48


@cache
def task_words() -> tuple[str, ...]:
    """Every word in the texts of the tasks' words, as written and capitalised."""
    words: set[str] = set()
    for name in ("calendar", "catalogue", "contexts", "facts", "graded", "grids", "ioi", "odds"):
        text = (PACKAGE / "tasks" / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.update(re.findall(r"[^\W_]+|[^\w\s]", node.value))
    return tuple(sorted({*words, *(word.capitalize() for word in words)}))


@cache
def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, with a BOS token in front of every prompt."""
    words = ("<unk>", "<bos>", "<eos>", *task_words())
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )


@cache
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2 has it: spaces belong to words, and there is no BOS token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=6000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{gap}{w}" for w in task_words() for gap in (" ", "")], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


_LLAMA_LIKE = {
    "hidden_size": D_MODEL,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": N_CTX,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "tie_word_embeddings": False,
}


def _llama() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_LLAMA_LIKE)


def _llama3() -> Any:
    from transformers import LlamaConfig

    scaling = {
        "rope_type": "llama3",
        "rope_theta": 5000.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    return LlamaConfig(**{**_LLAMA_LIKE, "head_dim": 12, "rope_parameters": scaling})


def _mistral() -> Any:
    from transformers import MistralConfig

    return MistralConfig(**{**_LLAMA_LIKE, "sliding_window": 4, "head_dim": 12})


def _qwen2() -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**_LLAMA_LIKE)


def _qwen3() -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(**{**_LLAMA_LIKE, "head_dim": 12})


_GEMMA = {
    **_LLAMA_LIKE,
    "head_dim": 12,
    "query_pre_attn_scalar": 20,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "tie_word_embeddings": True,
}


def _gemma2() -> Any:
    from transformers import Gemma2Config

    caps = {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0}
    return Gemma2Config(**{**_GEMMA, **caps})


def _gemma3() -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(**{**_GEMMA, "rope_local_base_freq": 500.0})


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=N_CTX)


def _gpt_neox() -> Any:
    from transformers import GPTNeoXConfig

    return GPTNeoXConfig(
        hidden_size=D_MODEL,
        intermediate_size=48,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=N_CTX,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 5000.0,
            "partial_rotary_factor": 0.5,
        },
        layer_norm_eps=1e-4,
        tie_word_embeddings=False,
    )


def _phi3() -> Any:
    from transformers import Phi3Config

    return Phi3Config(**{**_LLAMA_LIKE, "sliding_window": 6, "pad_token_id": None})


def _olmo2() -> Any:
    from transformers import Olmo2Config

    return Olmo2Config(**{**_LLAMA_LIKE, "num_key_value_heads": N_HEADS, "pad_token_id": None})


def _granite() -> Any:
    from transformers import GraniteConfig

    scales = {"logits_scaling": 3.0, "residual_multiplier": 0.7, "embedding_multiplier": 2.0}
    return GraniteConfig(**{**_LLAMA_LIKE, **scales, "attention_multiplier": 0.2})


CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "llama3": _llama3,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "phi3": _phi3,
    "olmo2": _olmo2,
}
BRIDGE_ONLY: dict[str, Callable[[], Any]] = {"granite": _granite}
"""Not in HookedTransformer; this one scales its logits."""
PARALLEL = {"gpt_neox"}
"""Their blocks read attention and MLP from one state, so there is no resid_mid."""


def tokenizer_of(architecture: str) -> PreTrainedTokenizerFast:
    """The tokenizer that `build` saves with a model."""
    return byte_tokenizer() if architecture in ("gpt2", "gpt_neox") else word_tokenizer()


def build(architecture: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny random model with its tokenizer to a folder."""
    tokenizer = tokenizer_of(architecture)
    config = {**CONFIGS, **BRIDGE_ONLY}[architecture]()
    config.vocab_size = len(tokenizer)
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = None
    model = AutoModelForCausalLM.from_config(config)
    randomise(model, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every weight anew: matrices wide, vectors (norms and biases) around where they stand."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(0.25 * noise)
            else:
                parameter.add_(0.3 * noise)
