"""Where to patch: one or several tokens of each base prompt, and the source's tokens for them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.sweep.alignment import Place, aligned_places, n_alone, one_wording, unaligned
from lensdepth.sweep.roles import POSITION_NAMES, Roles, assign_roles
from lensdepth.tasks.locate import find_input, token_at
from lensdepth.tasks.task import Task

log = logging.getLogger(__name__)

SpanTokens = tuple[Int[Tensor, "pair token"], Int[Tensor, "pair token"]]
PatchPositions = Literal["all"] | Sequence[str | int] | Mapping[str, SpanTokens]
"""`"all"` tokens one by one, of prompts of several wordings or lengths by their roles (see
`alignment`: spans of one name are averaged over); names (`"input"`, `"prediction"`) and indices,
negative ones from each prompt's end; or named spans: the tokens in the clean and in the corrupted
prompts, each `[pair, token]`, patched together, with -1 where a pair's span is shorter than the
longest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Span:
    """Tokens that are patched together, in every pair."""

    name: str
    base: Int[Tensor, "pair token"]
    """Positions in the base prompts, -1 for none."""
    source: Int[Tensor, "pair token"]
    """The positions that give the states; -1 in the same places."""

    @property
    def present(self) -> Bool[Tensor, " pair"]:
        """Whether a pair has such tokens at all."""
        return (self.base >= 0).any(1)

    def of(self, pairs: slice) -> "Span":
        """The span for some of the pairs."""
        return Span(name=self.name, base=self.base[pairs], source=self.source[pairs])


def resolve_spans(roles: Roles, positions: PatchPositions, *, caller: str) -> list[Span]:
    """The spans that an option names.

    Raises:
        ValueError: no such name or position, prompts that do not line up, or spans of different
            lengths.
    """
    if isinstance(positions, Mapping):
        return [_named_span(roles, name, *both, caller) for name, both in positions.items()]
    if isinstance(positions, str):
        if positions != "all":
            raise ValueError(
                f"{caller}: positions must be 'all', a sequence of names "
                f"({', '.join(POSITION_NAMES)}) and indices, or a mapping of spans, "
                f"got {positions!r}."
            )
        if not torch.equal(roles.base.lengths, roles.source.lengths):
            return _of_roles(roles, caller=caller)
        longest = int(roles.base.lengths.max())
        return [_at(roles, position) for position in range(longest)]
    if not len(positions):
        raise ValueError(
            f"{caller}: no position given; name {' or '.join(POSITION_NAMES)}, indices or 'all'."
        )
    spans = []
    for position in positions:
        if isinstance(position, str):
            spans.append(
                Span(
                    name=position,
                    base=roles.base_positions[position][:, None],
                    source=roles.source_positions[position][:, None],
                )
            )
            continue
        if position >= 0:
            check_aligned(roles, caller=caller)
        span = _at(roles, position)
        if not span.present.any():
            raise ValueError(
                f"{caller}: position {position} lies outside every prompt; the longest has "
                f"{int(roles.base.lengths.max())} tokens."
            )
        spans.append(span)
    return spans


def comparable_spans(roles: Roles, positions: PatchPositions, *, caller: str) -> list[Span]:
    """The same where effects are averaged over pairs: what is one span is one thing in all of them.

    `"all"` tokens of prompts of several wordings or lengths are lined up by their roles. Spans of
    one name are tokens of one role, to be averaged over in each pair (`Effects.averaged`).
    """
    if positions == "all" and not one_wording(roles):
        return [
            Span(name=one.name, base=one.base[:, None], source=one.source[:, None])
            for one in _lined_up(roles, caller=caller)
        ]
    return resolve_spans(roles, positions, caller=caller)


def _of_roles(roles: Roles, *, caller: str) -> list[Span]:
    """The tokens of each role together: as one span, where all are patched in one run."""
    found: dict[str, list[Place]] = {}
    for one in _lined_up(roles, caller=caller):
        found.setdefault(one.name, []).append(one)
    return [
        Span(
            name=name,
            base=torch.stack([one.base for one in places], dim=1),
            source=torch.stack([one.source for one in places], dim=1),
        )
        for name, places in found.items()
    ]


def _lined_up(roles: Roles, *, caller: str) -> list[Place]:
    """Every token by its role, or which pairs have no such thing; says what is left out."""
    wrong = unaligned(roles)
    if wrong:
        one = wrong[0]
        raise ValueError(
            f"{caller}: {len(wrong)} of {len(roles.base)} pairs have prompts of different token "
            f"counts that share less than half of their tokens, so absolute positions do not line "
            f"up (pair {one}: {int(roles.base.lengths[one])} and "
            f"{int(roles.source.lengths[one])} tokens). Patch at the positions 'input' and "
            f"'prediction', count from the end (-1), give named spans, or reword the prompts."
        )
    places = aligned_places(roles)
    alone = n_alone(roles, places)
    if alone:
        log.warning(
            f"{caller}: prompts of different token counts are lined up by what is equal in both; "
            f"{alone} of {int(roles.base.lengths.sum())} tokens of the edited prompts have no "
            f"counterpart and stay as they are."
        )
    return places


def by_name(spans: Sequence[Span]) -> dict[str, list[int]]:
    """Where the spans of each name stand."""
    found: dict[str, list[int]] = {}
    for i, span in enumerate(spans):
        found.setdefault(span.name, []).append(i)
    return found


def named_positions(task: Task, positions: PatchPositions | None) -> tuple[str, ...]:
    """The named positions that an option needs found; without one, those that the task has."""
    if positions is None:
        return POSITION_NAMES if task.input_positions is not None else ("prediction",)
    if positions == "all":  # by which prompts of several wordings are lined up
        known = task.input_positions, task.corrupted_input_positions
        return ("prediction",) if any(at is None for at in known) else POSITION_NAMES
    if isinstance(positions, str | Mapping):
        return ()
    return tuple(position for position in positions if isinstance(position, str))


def unaligned_pairs(task: Task) -> list[int]:
    """The pairs of a task whose tokens do not line up, which `"all"` refuses."""
    return unaligned(
        assign_roles(
            task, "denoise", positions=named_positions(task, "all"), caller="unaligned_pairs"
        )
    )


def check_aligned(roles: Roles, *, caller: str) -> None:
    """Say what to do where the two prompts of a pair have different token counts."""
    wrong = (roles.base.lengths != roles.source.lengths).nonzero()[:, 0]
    if len(wrong):
        pair = int(wrong[0])
        raise ValueError(
            f"{caller}: pair {pair} has {int(roles.base.lengths[pair])} tokens in its base prompt "
            f"and {int(roles.source.lengths[pair])} in its source, so absolute positions do not "
            f"line up ({len(wrong)} of {len(roles.base)} pairs). Patch at the positions 'input' "
            f"and 'prediction', count from the end (-1), give named spans, or reword the prompts."
        )


def _at(roles: Roles, position: int) -> Span:
    base, source = (
        torch.full((len(batch),), position) + (batch.lengths if position < 0 else 0)
        for batch in (roles.base, roles.source)
    )
    there = (base >= 0) & (base < roles.base.lengths) & (source >= 0)
    there &= source < roles.source.lengths
    return Span(
        name=str(position),
        base=torch.where(there, base, -1)[:, None],
        source=torch.where(there, source, -1)[:, None],
    )


def _named_span(roles: Roles, name: str, clean: Tensor, corrupted: Tensor, caller: str) -> Span:
    base, source = (corrupted, clean) if roles.mode == "denoise" else (clean, corrupted)
    shape = (len(roles.base),)
    for part, batch in ((base, roles.base), (source, roles.source)):
        if part.ndim != 2 or part.shape[:1] != shape:
            raise ValueError(
                f"{caller}: span {name!r} needs two tensors [pair, token] for {shape[0]} pairs, "
                f"got shape {list(part.shape)}."
            )
        if (part >= batch.lengths[:, None]).any() or (part < -1).any():
            raise ValueError(
                f"{caller}: span {name!r} names a token outside its prompt (-1 stands for none)."
            )
    if base.shape != source.shape or ((base < 0) != (source < 0)).any():
        raise ValueError(
            f"{caller}: span {name!r} must have as many tokens in the clean as in the corrupted "
            f"prompt of each pair, padded with -1 at the end; leave out the pairs where it has not."
        )
    return Span(name=name, base=base, source=source)


@checked
def text_span(
    model: DepthModel,
    task: Task,
    clean: str | Sequence[str],
    corrupted: str | Sequence[str] | None = None,
) -> SpanTokens:
    """The tokens of a piece of each prompt, for `positions={"name": text_span(...)}`.

    Args:
        model: whose tokenizer reads the prompts.
        task: the pairs.
        clean: the piece of the clean prompts, one for all or one a pair. It must occur once.
        corrupted: the piece of the corrupted prompts; the same by default.
    Raises:
        ValueError: a prompt does not hold its piece, or holds it several times.
    """
    if task.corrupted is None or task.corrupted_tokens is None:
        raise ValueError(f"text_span: task {task.name!r} has plain prompts alone.")
    sides = [
        (task.clean, task.clean_tokens, clean),
        (task.corrupted, task.corrupted_tokens, clean if corrupted is None else corrupted),
    ]
    found = []
    for prompts, batch, pieces in sides:
        each = [pieces] * len(prompts) if isinstance(pieces, str) else list(pieces)
        if len(each) != len(prompts):
            raise ValueError(
                f"text_span: one piece for all or one a pair is needed, got {len(each)} for "
                f"{len(prompts)} pairs."
            )
        rows = []
        for i, (prompt, piece) in enumerate(zip(prompts, each, strict=True)):
            start, end = find_input(prompt, piece, None)
            ids = batch.row(i)
            first = token_at(model.tokenizer, prompt, ids, (start, start + 1))
            last = token_at(model.tokenizer, prompt, ids, (start, end))
            rows.append(list(range(first, last + 1)))
        width = max(map(len, rows))
        found.append(torch.tensor([row + [-1] * (width - len(row)) for row in rows]))
    width = max(part.shape[1] for part in found)
    padded = [torch.nn.functional.pad(p, (0, width - p.shape[1]), value=-1) for p in found]
    return padded[0], padded[1]


def same_states(roles: Roles, span: Span) -> tuple[Bool[Tensor, " pair"], Bool[Tensor, " pair"]]:
    """Pairs whose base and source states agree at a span because their tokens do.

    Returns:
        at every depth, since nothing before or at the span differs; and at depth 0, since the
        tokens at the span are equal.
    """
    width = min(roles.base.tokens.shape[1], roles.source.tokens.shape[1])
    base, source = roles.base.tokens[:, :width], roles.source.tokens[:, :width]
    differ = base != source
    first = torch.where(differ.any(1), differ.int().argmax(1), width)
    there = span.base >= 0
    placed = (span.base == span.source) | ~there
    before = placed & ((span.base < first[:, None]) | ~there)
    tokens = [
        batch.tokens.gather(1, at.clamp(min=0))
        for batch, at in ((roles.base, span.base), (roles.source, span.source))
    ]
    alike = placed & ((tokens[0] == tokens[1]) | ~there)
    return before.all(1), alike.all(1)


def span_labels(model: DepthModel, roles: Roles, spans: Sequence[Span]) -> tuple[str, ...]:
    """The tokens at each span where all pairs have the same; else the span's name.

    Where base and source differ but each is the same in all pairs, both are given. Spans of one
    name have one label, their name.
    """
    return tuple(
        _label(model, roles, spans[at[0]]) if len(at) == 1 else name
        for name, at in by_name(spans).items()
    )


def _label(model: DepthModel, roles: Roles, span: Span) -> str:
    texts = []
    for batch, at in ((roles.base, span.base), (roles.source, span.source)):
        rows = {
            tuple(batch.tokens[i, at[i][at[i] >= 0]].tolist())
            for i in span.present.nonzero()[:, 0].tolist()
        }
        if len(rows) != 1:
            return span.name
        texts.append("".join(model.token_text(token) for token in rows.pop()).strip())
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} / {texts[1]}"
