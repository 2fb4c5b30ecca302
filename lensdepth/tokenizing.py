"""From prompts as they are given to token ids in one batch, by the tokenizer's own rules.

What a user would not see is said: a second BOS token in front of a text, and words that a closed
vocabulary does not know.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth.outside import outside, shown
from lensdepth.passes import Passes
from lensdepth.tokens import Prompts, TokenBatch, has_double_bos, pad_tokens, token_text

logger = logging.getLogger(__name__)

MOST_SHOWN = 24
"""Tokens of a prompt that a warning spells out."""
ENDS_IN_SPACE = (
    "ends in a space, which this model reads as a token of its own; take it off, for the space "
    "belongs to the word that follows"
)
"""What is said of a prompt that `ending_in_space` finds."""
WarnOnce = Callable[[str, str], None]
"""(topic, message): says the message, the first time that the topic comes up."""


@runtime_checkable
class Tokenizes(Protocol):
    """What of a model is asked here."""

    def tokenize(self, prompts: Any) -> TokenBatch: ...


def tokenized(
    prompts: Prompts, tokenizer: Any, passes: Passes, double_bos: bool, warn_once: WarnOnce
) -> TokenBatch:
    """Prompts as one right-padded batch.

    Args:
        prompts: texts, token ids or a batch; ids are taken as given.
        tokenizer: None where there is none.
        passes: of the model.
        double_bos: whether a second BOS token, in front of one in the text, is read.
        warn_once: for the model.
    Raises:
        ValueError: a prompt is empty, too long or holds a token id out of range, or there is no
            tokenizer for text.
    """
    if isinstance(prompts, TokenBatch):
        batch = TokenBatch(
            tokens=_ordinary(prompts.tokens.cpu()), lengths=_ordinary(prompts.lengths.cpu())
        )
    else:
        batch = _encoded(prompts, tokenizer, passes, double_bos, warn_once)
    _check_fits(batch, passes)
    return batch


def _encoded(
    prompts: Any, tokenizer: Any, passes: Passes, double_bos: bool, warn_once: WarnOnce
) -> TokenBatch:
    given = [prompts] if isinstance(prompts, str) else list(prompts)
    rows = []
    for i, prompt in enumerate(given):
        ids = _ids(prompt, i, tokenizer)
        if isinstance(prompt, str) and has_double_bos(tokenizer, prompt, ids):
            if double_bos:
                warn_once("double_bos", _two_bos(prompt, token_text(tokenizer, ids[0])))
            else:
                ids = ids[1:]
        rows.append(ids)
    _warn_of_unknown(given, rows, tokenizer, passes.name)
    # Padding is never read; a token of the prompt is one that every model takes.
    return pad_tokens(rows, pad_id=rows[0][0] if rows else 0)


def _check_fits(batch: TokenBatch, passes: Passes) -> None:
    """Refuse what a model of this context and vocabulary cannot read."""
    name, n_ctx, d_vocab = passes.name, passes.n_ctx, passes.d_vocab
    longest = int(batch.lengths.max())
    if longest > n_ctx:
        raise ValueError(
            f"tokenize: prompt {int(batch.lengths.argmax())} has {longest} tokens; "
            f"{name!r} reads at most {n_ctx}."
        )
    used = batch.tokens[batch.mask]
    wrong = used[(used < 0) | (used >= d_vocab)]
    if len(wrong):
        raise ValueError(
            f"tokenize: token id {int(wrong[0])} is out of range; {name!r} has {d_vocab} tokens."
        )


def _ids(prompt: str | Sequence[int] | Tensor, index: int, tokenizer: Any) -> list[int]:
    if not isinstance(prompt, str):
        ids = [int(token) for token in prompt]
    elif tokenizer is None:
        raise ValueError("tokenize: this model has no tokenizer; give token ids, not text.")
    elif not prompt.strip():
        ids = []
    else:
        with outside(f"tokenize: prompt {index}, {shown(prompt)}, cannot be tokenized"):
            ids = list(tokenizer(prompt)["input_ids"])
    if not ids:
        raise ValueError(f"tokenize: prompt {index} is empty.")
    return ids


def _two_bos(prompt: str, bos: str) -> str:
    return (
        f"the prompt {shown(prompt)} begins with {bos}, and the tokenizer puts another in front; "
        f"both are read. double_bos=False (--single-bos) reads one."
    )


def _warn_of_unknown(
    prompts: Sequence[Any], rows: Sequence[list[int]], tokenizer: Any, name: str
) -> None:
    """Say once a batch what a closed vocabulary lacks: the model reads nothing of it."""
    unknown = _unknown_id(tokenizer)
    if unknown is None:
        return
    for prompt, ids in zip(prompts, rows, strict=True):
        if isinstance(prompt, str) and unknown in ids:
            read = " ".join(token_text(tokenizer, token) for token in ids[:MOST_SHOWN])
            logger.warning(
                "%r does not know every word of %r and reads %s there: %s",
                name,
                prompt if len(prompt) <= 8 * MOST_SHOWN else prompt[: 8 * MOST_SHOWN] + "…",
                tokenizer.unk_token,
                read if len(ids) <= MOST_SHOWN else f"{read} …",
            )
            return


def _unknown_id(tokenizer: Any) -> int | None:
    """The token that stands for what a closed vocabulary lacks; None where there is none."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    # GPT-2 calls its one special token unknown too, and never uses it as such.
    own = unknown is not None and unknown not in (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return unknown if own else None


def unknown_words(prompt: str, tokenizer: Any, double_bos: bool) -> dict[int, str]:
    """What a closed vocabulary lacks of a prompt, by the position of the token that stands for it.

    A tokenizer that keeps no offsets gives its sign for unknown words in place of each.
    """
    unknown = _unknown_id(tokenizer)
    if unknown is None or not prompt.strip():
        return {}
    fast = getattr(tokenizer, "is_fast", False)
    with outside(f"unknown_words: {shown(prompt)} cannot be tokenized"):
        read = tokenizer(prompt, **({"return_offsets_mapping": True} if fast else {}))
    ids = list(read["input_ids"])
    words = [str(tokenizer.unk_token)] * len(ids)
    if fast:
        words = [prompt[start:end] for start, end in read["offset_mapping"]]
    first = int(not double_bos and has_double_bos(tokenizer, prompt, ids))
    return {
        i: word
        for i, (token, word) in enumerate(zip(ids[first:], words[first:], strict=True))
        if token == unknown
    }


def _ordinary(x: Tensor) -> Tensor:
    """The same numbers, of which a gradient may make use even if inference mode made them."""
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def ending_in_space(model: Tokenizes, prompts: Sequence[str]) -> list[int]:
    """Indices of the prompts that end in spaces which this model reads as tokens.

    Models of everyday text learn a space as the beginning of the next word, so that behind a lone
    one they predict something else.
    """
    spaced = [i for i, text in enumerate(prompts) if text.rstrip(" ") not in ("", text)]
    if not spaced:
        return []
    given = model.tokenize([prompts[i] for i in spaced])
    bare = model.tokenize([prompts[i].rstrip(" ") for i in spaced])
    return [i for k, i in enumerate(spaced) if given.row(k) != bare.row(k)]
