"""Llama models with hand-set weights, whose answers to our questions are known.

The language: "from X is", where X is one of two kinds of inputs. All embeddings are orthogonal,
all queries and keys are zero, so that attention is a plain mean; every block does nothing except
those named here.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

N = 6
"""Inputs of each kind."""
INPUTS = [f"in{i}" for i in range(2 * N)]
OUTPUTS = [f"out{i}" for i in range(2 * N)]
WORDS = ["from", "is", *INPUTS, *OUTPUTS]
D_MODEL = 32
WORDINGS = ("from {} is", "is {} is", "{} from is", "{} is is")
"""Ways to say it, of the same length; to a mean over tokens their order is all the same."""
LENGTH = 3.0
"""Of every embedding."""
N_POS = 4
"""Tokens of a prompt: <bos> from X is."""


def prompt_file(
    path: Path,
    pairs: list[tuple[int, int]],
    outputs: list[int],
    wordings: tuple[str, ...] = ("from {} is",),
) -> Path:
    """Pairs of inputs, clean and corrupted, with the output that each of them has."""
    lines = ["clean,corrupted,target,foil,input,corrupted_input"]
    lines += [
        f"{text.format(f'in{a}')},{text.format(f'in{b}')},out{outputs[a]},out{outputs[b]},in{a},in{b}"
        for text in wordings
        for a, b in pairs
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(["<bos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")


def _blank(n_layers: int) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model of zeros with orthogonal embeddings, and the unit vector of each word."""
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=D_MODEL,
        intermediate_size=8,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=16,
        tie_word_embeddings=False,
        bos_token_id=0,
    )
    model: Any = LlamaForCausalLM(config)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.zero_()
    basis = torch.linalg.qr(
        torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(0))
    )[0]
    read = ["<bos>", "from", "is", *INPUTS]
    unit = {word: basis[i] for i, word in enumerate(read)}
    for word in read:
        token = tokenizer.convert_tokens_to_ids(word)
        model.model.embed_tokens.weight.data[token] = LENGTH * unit[word]
    unit["spare"] = basis[-1]
    return model, unit


def _attend(model: Any, layer: int, values: torch.Tensor) -> None:
    """Let a block add `values @ unit(x)`, summed over the prompt's tokens, to every position."""
    attention = model.model.layers[layer].self_attn
    # The norm gives states of length sqrt(d_model), the mean divides by the number of tokens.
    attention.v_proj.weight.data.copy_(values * N_POS / D_MODEL**0.5)
    attention.o_proj.weight.data.copy_(torch.eye(D_MODEL))


def _read(model: Any, word: str, vector: torch.Tensor) -> None:
    token = _tokenizer().convert_tokens_to_ids(word)
    model.lm_head.weight.data[token] = vector


def _save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def switch(folder: Path, *, n_layers: int, layer: int) -> Path:
    """One block moves the input's embedding to the end; input i answers output i."""
    model, unit = _blank(n_layers)
    _attend(model, layer, 2 * LENGTH * torch.eye(D_MODEL))
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        _read(model, answer, unit[given])
    return _save(model, folder)


def deaf(folder: Path, *, n_layers: int) -> Path:
    """The answer is output 0 whatever the input."""
    model, unit = _blank(n_layers)
    _read(model, "out0", unit["is"])
    return _save(model, folder)


def gate(folder: Path, *, n_layers: int, stretch: int, weigh: int) -> Path:
    """The norm decides: inputs of the first kind stretch the last state without turning it.

    Block `weigh` later adds the same vector to every state; only a stretched state outweighs it.
    The first kind of inputs answers output 0, the second output 1.
    """
    model, unit = _blank(n_layers)
    first_kind = torch.stack([unit[word] for word in INPUTS[:N]]).sum(0)
    _attend(model, stretch, 4 * LENGTH * torch.outer(unit["is"], first_kind))
    _attend(model, weigh, 2 * LENGTH * torch.outer(unit["spare"], unit["<bos>"]))
    _read(model, "out0", unit["is"])
    _read(model, "out1", unit["spare"])
    return _save(model, folder)
