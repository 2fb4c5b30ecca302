"""Models of zeros with orthogonal embeddings, and how one of their blocks is made to do something.

Queries and keys are zero, so that attention is a plain mean over the tokens up to its own.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lensdepth.teaching.planted.language import INPUTS, N_POS, tokenizer

Architecture = Literal["llama", "gpt2"]
D_MODEL = 32
D_MLP = 16
LENGTH = 3.0
"""Of every embedding."""


class Blank:
    """A model that does nothing yet.

    Args:
        architecture: "llama" has RMSNorm; "gpt2" has LayerNorm, and learned positions, which
            are zero here.
        n_layers: blocks.
    """

    def __init__(self, architecture: Architecture, n_layers: int) -> None:
        self.architecture = architecture
        self.tokenizer = tokenizer()
        self.model: Any = _zeros(architecture, n_layers, len(self.tokenizer))
        # All units are orthogonal to the vector of ones, so that LayerNorm subtracts nothing.
        drawn = torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(0))
        drawn[:, 0] = 1.0
        basis = torch.linalg.qr(drawn)[0].T[1:]
        read = ["<bos>", "from", "is", *INPUTS, "spare"]
        self.unit = {word: basis[i] for i, word in enumerate(read)}
        embeddings = self.model.get_input_embeddings().weight.data
        # Words that no prompt has are something too: what a norm makes of nothing is rounding.
        embeddings[:] = LENGTH * self.unit["spare"]
        for word in read[:-1]:
            embeddings[self._token(word)] = LENGTH * self.unit[word]

    def _token(self, word: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(word))  # type: ignore[arg-type]

    def attend(self, layer: int, values: Tensor) -> None:
        """Let a block add `values @ unit(x)`, summed over the prompt's tokens, to the last one.

        Other positions see fewer tokens and get more of each.
        """
        # The norm gives states of length sqrt(d_model), the mean divides by the number of tokens.
        values = values * N_POS / D_MODEL**0.5
        if self.architecture == "llama":
            attention = self.model.model.layers[layer].self_attn
            attention.v_proj.weight.data.copy_(values)
            attention.o_proj.weight.data.copy_(torch.eye(D_MODEL))
        else:
            attention = self.model.transformer.h[layer].attn
            attention.c_attn.weight.data[:, 2 * D_MODEL :] = values.T
            attention.c_proj.weight.data.copy_(torch.eye(D_MODEL))

    def disturb(self, layer: int, size: float, seed: int) -> None:
        """Let a block's MLP add a random function of the state, of about this length."""
        generator = torch.Generator().manual_seed(seed)
        into = torch.randn(D_MLP, D_MODEL, generator=generator) / D_MODEL**0.5
        out = torch.randn(D_MODEL, D_MLP, generator=generator)
        out -= out.mean(0)  # nothing along the ones, which LayerNorm would subtract
        out *= size / (0.5 * (D_MODEL * D_MLP) ** 0.5)
        if self.architecture == "llama":
            mlp = self.model.model.layers[layer].mlp
            mlp.gate_proj.weight.data.copy_(into)
            mlp.up_proj.weight.data.copy_(into.flip(0))
            mlp.down_proj.weight.data.copy_(out)
        else:
            mlp = self.model.transformer.h[layer].mlp
            mlp.c_fc.weight.data.copy_(into.T)
            mlp.c_proj.weight.data.copy_(out.T)

    def read(self, word: str, vector: Tensor) -> None:
        """Let a word's logit be the final state's product with a vector."""
        self.model.lm_head.weight.data[self._token(word)] = vector

    def save(self, folder: Path) -> Path:
        """A Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return folder


def _zeros(architecture: Architecture, n_layers: int, d_vocab: int) -> Any:
    shared = {"vocab_size": d_vocab, "tie_word_embeddings": False, "bos_token_id": 0}
    if architecture == "llama":
        model: Any = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=D_MODEL,
                intermediate_size=D_MLP,
                num_hidden_layers=n_layers,
                num_attention_heads=2,
                num_key_value_heads=2,
                max_position_embeddings=16,
                **shared,
            )
        )
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=D_MODEL,
                n_inner=D_MLP,
                n_layer=n_layers,
                n_head=2,
                n_positions=16,
                eos_token_id=0,
                **shared,
            )
        )
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.zero_()
    return model
