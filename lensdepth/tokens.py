"""Prompts of different lengths as one right-padded batch, and positions in it.

Reach for this to put token ids into a batch or to name places in it. A causal model's real tokens
never see what comes after them, so right padding needs no attention mask and changes no number.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBatch:
    """Token ids of several prompts, right padded."""

    tokens: Int[Tensor, "batch pos"]
    """Token ids; whatever stands at and beyond a prompt's length is padding."""
    lengths: Int[Tensor, " batch"]
    """Number of real tokens of each prompt, at least 1."""

    def __post_init__(self) -> None:
        longest = self.tokens.shape[1]
        if len(self.lengths) and not 1 <= self.lengths.min() <= self.lengths.max() <= longest:
            raise ValueError(
                f"TokenBatch: lengths must lie between 1 and {longest} (the width of tokens), "
                f"got {self.lengths.tolist()}. An empty prompt has no last token."
            )

    @property
    def last(self) -> Int[Tensor, " batch"]:
        """Each prompt's own last position."""
        return self.lengths - 1

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        """True at real tokens."""
        every = torch.arange(self.tokens.shape[1], device=self.lengths.device)
        return every < self.lengths[:, None]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice | Int[Tensor, " row"]) -> "TokenBatch":
        """The prompts of these rows, with no more padding than they need."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return TokenBatch(tokens=self.tokens[rows][:, :longest], lengths=lengths)

    def row(self, index: int) -> list[int]:
        """The real token ids of one prompt."""
        return self.tokens[index, : int(self.lengths[index])].tolist()


Positions = (
    Literal["last", "all"]
    | Int[Tensor, " batch"]
    | Int[Tensor, "batch pos"]
    | Sequence[int | Sequence[int]]
)
Prompts = str | Sequence[str | Sequence[int]] | Int[Tensor, "batch pos"] | TokenBatch


def pad_tokens(rows: Sequence[Sequence[int]], pad_id: int) -> TokenBatch:
    """Right-pad lists of token ids to one batch.

    Raises:
        ValueError: there are no rows, or a row is empty.
    """
    if len(rows) == 0:
        raise ValueError("pad_tokens: there are no prompts.")
    empty = [i for i, row in enumerate(rows) if len(row) == 0]
    if empty:
        raise ValueError(f"pad_tokens: prompt {empty[0]} has no tokens.")
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), pad_id)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(list(row))
    return TokenBatch(tokens=tokens, lengths=lengths)


def has_double_bos(tokenizer: Any, text: str, ids: Sequence[int]) -> bool:
    """Whether a text begins with the BOS token, and the tokenizer put another in front of it."""
    if len(ids) < 2 or ids[0] != ids[1]:
        return False
    plain = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return list(ids[1 : 1 + len(plain)]) == list(plain)


def token_text(tokenizer: Any, token: int) -> str:
    """What one token stands for, its leading space included; its id where no tokenizer is."""
    if tokenizer is None:
        return str(token)
    text = tokenizer.decode([token])
    piece = tokenizer.convert_ids_to_tokens(token)
    # SentencePiece drops the space of a first word when it decodes.
    return f" {text}" if str(piece).startswith("▁") and not text.startswith(" ") else text


def told_apart(texts: Sequence[str]) -> list[str]:
    """Texts of tokens without the spaces around them, unless those are all that tells two apart."""
    bare = [text.strip() for text in texts]
    return bare if all(bare) and len(set(bare)) == len(set(texts)) else list(texts)


def number_texts(*batches: TokenBatch) -> list[Int[Tensor, " batch"]]:
    """A number for each prompt of each batch; prompts of the same tokens share theirs."""
    numbers: dict[tuple[int, ...], int] = {}
    return [
        torch.tensor(
            [numbers.setdefault(tuple(batch.row(i)), len(numbers)) for i in range(len(batch))]
        )
        for batch in batches
    ]


def of_like_lengths(
    lengths: Int[Tensor, " batch"], at_once: Callable[[int], int], free: int
) -> list[Int[Tensor, " row"]]:
    """Rows that go through together, blocks of shorter prompts first: each row once.

    Every prompt is padded to the longest beside it, and one long prompt among short ones would
    make them all as long. A block ends where padding would be more than a quarter of its tokens.

    Args:
        lengths: of the prompts.
        at_once: how many prompts of such a length go through together at most.
        free: so many padded tokens cost less than another pass.
    """
    most = functools.cache(at_once)
    blocks: list[list[int]] = [[]]
    n_real = 0
    for row in lengths.argsort(stable=True).tolist():
        longest, n_rows = int(lengths[row]), len(blocks[-1]) + 1
        n_padded = n_rows * longest - (n_real + longest)
        too_many = n_rows > most(longest)
        if blocks[-1] and (too_many or n_padded > max(free, (n_real + longest) / 4)):
            blocks.append([])
            n_real = 0
        blocks[-1].append(row)
        n_real += longest
    return [torch.tensor(sorted(block)) for block in blocks if block]


def _length(row: int | Sequence[int]) -> int:
    return len(row) if isinstance(row, Sequence) else -1


def resolve_positions(batch: TokenBatch, positions: Positions) -> Int[Tensor, "batch pos"]:
    """Positions as indices from each prompt's start, one row per prompt.

    Args:
        batch: the prompts.
        positions: `"last"`, `"all"`, or indices: one per prompt or several per prompt. Negative
            ones count from each prompt's own end, so -1 is its last token whatever the padding.
    Returns:
        Indices, never negative, except with `"all"`: there -1 stands beyond a prompt's end.
    Raises:
        ValueError: an index lies outside its prompt, or there is not one row per prompt.
    """
    if isinstance(positions, str):
        if positions == "last":
            return batch.last[:, None]
        if positions == "all":
            every = torch.arange(batch.tokens.shape[1]).expand(len(batch), -1)
            return torch.where(batch.mask, every, -1)
        raise ValueError(f"positions: use 'last', 'all' or indices, got {positions!r}.")
    if isinstance(positions, Sequence) and len({_length(row) for row in positions}) > 1:
        raise ValueError("positions: every prompt needs as many indices; pad by repeating one.")
    asked = torch.as_tensor(positions).cpu()
    if asked.is_floating_point() or asked.dtype == torch.bool:
        raise TypeError(f"positions: indices must be integers, got {asked.dtype}.")
    asked = asked.long()
    if asked.ndim == 1:
        asked = asked[:, None]
    if asked.ndim != 2 or len(asked) != len(batch):
        raise ValueError(
            f"positions: one row of indices per prompt is needed, "
            f"got shape {list(asked.shape)} for {len(batch)} prompts."
        )
    lengths = batch.lengths[:, None]
    wrong = (asked < -lengths) | (asked >= lengths)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"positions: {int(asked[row, column])} lies outside prompt {row}, "
            f"which has {int(batch.lengths[row])} tokens."
        )
    return torch.where(asked < 0, asked + lengths, asked)
