"""Models with random weights in real shapes, as Hugging Face folders: nothing is downloaded."""

from pathlib import Path
from typing import Any

import torch

SHAPES = ("gpt2", "llama")


def config(shape: str, n_layers: int = 12) -> Any:
    """GPT-2 small (12 x 768, 50257 tokens), or a Llama of 12 x 512 with grouped heads."""
    import transformers

    if shape == "gpt2":
        return transformers.GPT2Config(n_layer=n_layers)
    return transformers.LlamaConfig(
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=n_layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=32000,
        max_position_embeddings=2048,
    )


def folder(shape: str, root: Path, n_layers: int = 12) -> Path:
    """Write the model with a tokenizer that nobody uses, once; the seed is fixed."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    path = root / f"{shape}-{n_layers}"
    if not (path / "tokenizer.json").exists():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config(shape, n_layers)).save_pretrained(path)
        words = {str(i): i for i in range(100)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="0"))
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="0").save_pretrained(path)
    return path


def pair(
    d_vocab: int, seq: int, shared: int = 0, seed: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean and corrupted tokens `[1, seq]`, equal in their first `shared` positions."""
    generator = torch.Generator().manual_seed(seed)
    clean, corrupted = (torch.randint(d_vocab, (1, seq), generator=generator) for _ in range(2))
    corrupted[:, :shared] = clean[:, :shared]
    return clean, corrupted


ANSWERS = (5, 7)
"""Token ids whose logits are compared."""
