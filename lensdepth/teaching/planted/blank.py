"""Models of zeros with orthogonal embeddings, and how one of their blocks is made to do something.

Queries and keys are zero, so that attention is a plain mean over the tokens up to its own; or some
words are made to look at some others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from lensdepth.teaching.planted.language import INPUTS, N_POS, tokenizer

Architecture = Literal["llama", "gpt2", "gpt_neox", "gemma2"]
D_MODEL = 32
D_MLP = 16
N_HEADS = 2
LENGTH = 3.0
"""Of every embedding."""
UNIT = D_MODEL**0.5
"""Length of a state as a norm gives it."""
LOOKS = (7, 15)
"""Places in each head that words look by: rotary positions turn them least, or not at all."""
SHARP = 3.0
"""Weight of a look; its scores are beyond all doubt."""
NEURON = 10.0
"""What a neuron is fed, so large that its activation function bends nothing."""
SOFTCAP = 8.0
"""Of the logits of Gemma 2, whose largest are a little smaller."""


class Blank:
    """A model that does nothing yet.

    Args:
        architecture: "llama" has RMSNorm; "gpt2" has LayerNorm, and learned positions, which
            are zero here; "gpt_neox" has LayerNorm, and attention and MLP side by side; "gemma2"
            has RMSNorm before and behind each of them, and a soft cap on the logits.
        n_layers: blocks.
    """

    def __init__(self, architecture: Architecture, n_layers: int) -> None:
        self.architecture: Architecture = architecture
        self.tokenizer = tokenizer()
        self.model: Any = _zeros(architecture, n_layers, len(self.tokenizer))
        # All units are orthogonal to the vector of ones, so that LayerNorm subtracts nothing.
        drawn = torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(0))
        drawn[:, 0] = 1.0
        basis = torch.linalg.qr(drawn)[0].T[1:]
        read = ["<bos>", "from", "is", *INPUTS, "spare"]
        self.unit = {word: basis[i] for i, word in enumerate(read)}
        embeddings = self.model.get_input_embeddings().weight.data
        length = LENGTH / UNIT if architecture == "gemma2" else LENGTH  # which it scales itself
        # Words that no prompt has are something too: what a norm makes of nothing is rounding.
        embeddings[:] = length * self.unit["spare"]
        for word in read[:-1]:
            embeddings[self._token(word)] = length * self.unit[word]

    def _token(self, word: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(word))  # type: ignore[arg-type]

    def attend(
        self,
        layer: int,
        values: Tensor,
        looks: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
    ) -> None:
        """Let a block add `values @ unit(x)`, summed over the prompt's tokens, to the last one.

        Other positions see fewer tokens and get more of each.

        Args:
            layer: the block.
            values: what is added of what is seen.
            looks: two pairs at most of words that look, and words that they look at: each adds
                `values @ unit(x)` of what it looks at, and nothing else. Words that look at
                nothing see everything.
        """
        # The norm gives states of length sqrt(d_model), the mean divides by the number of tokens.
        scaled = values * (1 if looks else N_POS) / UNIT
        queries, keys = torch.zeros(D_MODEL, D_MODEL), torch.zeros(D_MODEL, D_MODEL)
        for (looking, at), place in zip(looks, LOOKS, strict=False):
            for head in range(N_HEADS):
                row = head * D_MODEL // N_HEADS + place
                queries[row] = SHARP * sum(self.unit[word] for word in looking)  # type: ignore[assignment]
                keys[row] = SHARP * sum(self.unit[word] for word in at)  # type: ignore[assignment]
        _set_attention(self.architecture, self._block(layer), queries, keys, scaled)
        if self.architecture == "gemma2":
            # Behind attention stands a norm: how much is added is its weight alone.
            length = float(torch.linalg.matrix_norm(values, 2))
            self._block(layer).post_attention_layernorm.weight.data.fill_(length / UNIT - 1)

    def disturb(self, layer: int, size: float, seed: int) -> None:
        """Let a block's MLP add a random function of the state, of about this length."""
        generator = torch.Generator().manual_seed(seed)
        into = torch.randn(D_MLP, D_MODEL, generator=generator) / UNIT
        out = torch.randn(D_MODEL, D_MLP, generator=generator)
        out -= out.mean(0)  # nothing along the ones, which LayerNorm would subtract
        out *= size / (0.5 * (D_MODEL * D_MLP) ** 0.5)
        block = self._block(layer)
        mlp = block.mlp
        if self.architecture == "gpt2":
            mlp.c_fc.weight.data.copy_(into.T)
            mlp.c_proj.weight.data.copy_(out.T)
        elif self.architecture == "gpt_neox":
            mlp.dense_h_to_4h.weight.data.copy_(into)
            mlp.dense_4h_to_h.weight.data.copy_(out)
        else:
            mlp.gate_proj.weight.data.copy_(into)
            mlp.up_proj.weight.data.copy_(into.flip(0))
            mlp.down_proj.weight.data.copy_(out)
        if self.architecture == "gemma2":
            block.post_feedforward_layernorm.weight.data.fill_(size / UNIT - 1)

    def neuron(self, layer: int, reads: Tensor, writes: Tensor) -> None:
        """Let the first neuron of a block's MLP write a vector, as often as it reads of another.

        At a normed state of which `reads` gives 1, about `writes` is added; nothing where it gives
        0 (Llama and GPT-2).
        """
        mlp = self._block(layer).mlp
        if self.architecture == "gpt2":
            mlp.c_fc.weight.data[:, 0] = NEURON * reads
            mlp.c_proj.weight.data[0] = writes / NEURON  # gelu is the identity of what is large
        else:
            mlp.gate_proj.weight.data[0] = NEURON * reads
            mlp.up_proj.weight.data[0] = NEURON * reads
            mlp.down_proj.weight.data[:, 0] = writes / NEURON**2

    def _block(self, layer: int) -> Any:
        if self.architecture == "gpt2":
            return self.model.transformer.h[layer]
        return self.model.base_model.layers[layer]

    def read(self, word: str, vector: Tensor) -> None:
        """Let a word's logit be the final state's product with a vector."""
        self.model.get_output_embeddings().weight.data[self._token(word)] = vector

    def save(self, folder: Path) -> Path:
        """A Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return folder


def _set_attention(
    architecture: Architecture, block: Any, queries: Tensor, keys: Tensor, values: Tensor
) -> None:
    """Matrices that act on the normed state; what heads give is added as it is."""
    whole = torch.eye(D_MODEL)
    if architecture == "gpt2":
        block.attn.c_attn.weight.data.copy_(torch.cat([queries, keys, values]).T)
        block.attn.c_proj.weight.data.copy_(whole)
    elif architecture == "gpt_neox":
        # Head by head: its queries, its keys, its values.
        parts = [x.view(N_HEADS, 1, -1, D_MODEL) for x in (queries, keys, values)]
        block.attention.query_key_value.weight.data.copy_(
            torch.cat(parts, dim=1).reshape(3 * D_MODEL, D_MODEL)
        )
        block.attention.dense.weight.data.copy_(whole)
    else:
        attention = block.self_attn
        attention.q_proj.weight.data.copy_(queries)
        attention.k_proj.weight.data.copy_(keys)
        attention.v_proj.weight.data.copy_(values)
        attention.o_proj.weight.data.copy_(whole)


def _zeros(architecture: Architecture, n_layers: int, d_vocab: int) -> Any:
    shared: dict[str, Any] = {
        "vocab_size": d_vocab,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
    }
    sized: dict[str, Any] = {
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": n_layers,
        "num_attention_heads": N_HEADS,
        "max_position_embeddings": 16,
    }
    grouped: dict[str, Any] = {"num_key_value_heads": N_HEADS}
    if architecture == "llama":
        model: Any = LlamaForCausalLM(LlamaConfig(**sized, **grouped, **shared))
    elif architecture == "gpt_neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**sized, **shared, eos_token_id=0))
    elif architecture == "gemma2":
        capped: dict[str, Any] = {
            "final_logit_softcapping": SOFTCAP,
            "head_dim": D_MODEL // N_HEADS,
        }
        scored: dict[str, Any] = {"query_pre_attn_scalar": D_MODEL // N_HEADS, "sliding_window": 16}
        model = Gemma2ForCausalLM(
            Gemma2Config(**sized, **grouped, **shared, **capped, **scored, eos_token_id=0)
        )
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=D_MODEL,
                n_inner=D_MLP,
                n_layer=n_layers,
                n_head=N_HEADS,
                n_positions=16,
                eos_token_id=0,
                **shared,
            )
        )
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.zero_()
    return model
