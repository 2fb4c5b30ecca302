"""Models of large shapes with random weights, made where they run, and what goes through them.

Reach for this where `shapes.folder` would write sixteen gigabytes first: the model is built on its
device from a configuration, with a tokenizer of whole words, and wrapped as a loaded one is.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lensdepth.checkpoint import Checkpoint
from lensdepth.conversion import convert
from lensdepth.model import DepthModel
from lensdepth.replay import engine
from lensdepth.tally import Tally, tallied

SHAPES: dict[str, dict[str, Any]] = {
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "llama-70b": {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 224,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
    },
}
"""Of Llama 3.2 1B, Llama 3.1 8B and 70B, by their published configurations, and one to try."""
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def config(shape: str, **other: int) -> Any:
    """The configuration of a shape; what is given beside it stands in place of its own."""
    import transformers

    given = {**SHAPES[shape], **other}
    made = transformers.LlamaConfig(
        **given,
        # Of 4096 wide states the usual 0.02; of narrow ones more, so that predictions vary.
        initializer_range=1.28 / given["hidden_size"] ** 0.5,
        rope_parameters=dict(ROPE),
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    made._attn_implementation = "eager"
    return made


def tokenizer(texts: Sequence[str]) -> Any:
    """One token a word of these texts, with a BOS token in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    found = {word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text)}
    words = ("<unk>", "<bos>", "<eos>", *sorted(found))
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<eos>",
    )
    # TransformerLens asks for the folder of a tokenizer, and reads nothing there of this one.
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder)


def hugging_face(shape: str, device: str, dtype: torch.dtype, seed: int = 0, **other: int) -> Any:
    """The Hugging Face model, whose weights are drawn on the device in this dtype."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config(shape, **other))
    finally:
        torch.set_default_dtype(before)
    return model.to(device).eval()


def depth_model(
    shape: str, device: str, dtype: torch.dtype, texts: Sequence[str], **other: int
) -> DepthModel:
    """The same on a bridge, held against itself on a probe as every loaded model is."""
    with torch.inference_mode(False):
        hf_model = hugging_face(shape, device, dtype, **other)
        words = tokenizer(texts)
        checkpoint = Checkpoint(
            hf_model=hf_model,
            tokenizer=words,
            source=shape,
            name=shape,
            architecture=type(hf_model).__name__,
            fingerprint="",
            configuration="",
        )
        model, _ = convert(checkpoint, "bridge", dtype)
    return DepthModel(model, tokenizer=words, name=f"{shape}, random weights")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the operations of a shape are counted by."""

    n_layers: int
    d_model: int
    d_vocab: int
    block: int
    """Weights of one block."""
    reading: int
    """Those of them that make queries, keys and values: all that the last block needs of tokens
    which are not read."""
    d_heads: int
    """Width of all heads' queries."""

    @classmethod
    def of(cls, shape: str) -> "Sizes":
        """By its configuration: four projections, of which two for fewer heads, and three of the
        MLP."""
        given = SHAPES[shape]
        d, mlp = given["hidden_size"], given["intermediate_size"]
        kv = d * given["num_key_value_heads"] // given["num_attention_heads"]
        return cls(
            n_layers=given["num_hidden_layers"],
            d_model=d,
            d_vocab=given["vocab_size"],
            block=2 * d * d + 2 * d * kv + 3 * d * mlp,
            reading=d * d + 2 * d * kv,
            d_heads=d,
        )

    @property
    def parameters(self) -> int:
        """All weights, embedding and unembedding apart, without the norms' few."""
        return self.n_layers * self.block + 2 * self.d_model * self.d_vocab

    def block_flops(self, context: float) -> float:
        """One block on one token that looks back at so many."""
        return 2 * self.block + 4 * self.d_heads * context

    @property
    def read_flops(self) -> float:
        """One state over the whole vocabulary."""
        return 2 * self.d_model * self.d_vocab


@dataclass(kw_only=True)
class Count:
    """What went through a model."""

    tally: Tally
    whole: int = 0
    """States read over the whole vocabulary."""
    ends: int = 0
    """Tokens of edited runs in the last block, beyond the one of each that is read."""

    @property
    def block_tokens(self) -> int:
        """Tokens, each counted in every block that it went through."""
        return self.tally.plain + self.tally.rows

    def flops(self, sizes: Sizes, context: float) -> float:
        """Operations that this takes at least."""
        blocks = self.block_tokens * sizes.block_flops(context)
        spared = self.ends * 2 * (sizes.block - sizes.reading)
        return blocks - spared + self.whole * sizes.read_flops


@contextmanager
def counted(model: DepthModel, *, rehearsed: bool = False) -> Iterator[Count]:
    """Count what goes through a model meanwhile; in a rehearsal, what would."""
    ending = model.ending
    own: Callable[..., Tensor] = ending.read
    rows_of = engine.rows_of
    with tallied(rehearsed=rehearsed) as tally:
        count = Count(tally=tally)

        def read(resid: Tensor, columns: Tensor | None, *, grad: bool, linear: bool) -> Tensor:
            count.whole += resid.shape[:-1].numel() * (columns is None)
            return own(resid, columns, grad=grad, linear=linear)

        def rows(sets: Any, read: Tensor, only: Tensor, last_depth: int) -> int:
            found = rows_of(sets, read, only, last_depth)
            in_last = found - rows_of(sets, read, only, last_depth - 1)
            if last_depth == model.n_layers:
                count.ends += max(0, in_last - int(only.sum()))
            return found

        vars(ending)["read"], engine.rows_of = read, rows
        try:
            yield count
        finally:
            del vars(ending)["read"]
            engine.rows_of = rows_of
