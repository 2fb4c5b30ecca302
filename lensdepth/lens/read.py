"""The lens: residual states at every depth through the model's own readout.

At depth L the lens is the model's own distribution, whatever stands in front of the readout at
the depths before. Of a task with answers these are also read among themselves, and of pairs the
corrupted prompts besides, since on large vocabularies unrelated tokens outshine all answers until
the last blocks. Readouts are streamed: memory holds a few million logits at a time, of a few
positions at every depth, whatever the number of prompts.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; the divergence to the final
distribution as in Belrose et al. 2023, arXiv 2303.08112.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.finite import NotFinite
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.tuned import TunedLens
from lensdepth.model import DepthModel
from lensdepth.not_finite import not_finite
from lensdepth.outside import shown
from lensdepth.progress import one_by_one
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import ModelInfo, make_provenance
from lensdepth.tasks.locate import token_ids
from lensdepth.tasks.task import Task
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions

Read = Callable[[Float[Tensor, "depth row d_model"], Int[Tensor, " row"]], dict[str, Tensor]]
"""From states, and which prompts they are of, to measures `[depth, row, ...]`."""
LOGITS_AT_ONCE = 2**22
"""Most logits of one readout: 16 MiB in float32, which still fits into a processor's cache."""


@renamed(prompts="task")
@checked
@bounded
def logit_lens(
    model: DepthModel,
    task: Task | Prompts,
    *,
    positions: Positions = "last",
    top_k: int = 5,
    follow: Sequence[str | int] = (),
    translators: TunedLens | None = None,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> LensProfile:
    """Read every depth through the model's own readout.

    Args:
        model: any wrapped model.
        task: a task (its clean prompts are read, with its target and foil), one prompt or
            several, as text or token ids.
        positions: "last", "all", or indices per prompt.
        top_k: how many of the most likely tokens to keep.
        follow: tokens whose probability and rank are kept at every place, wherever they stand: as
            text, with the space in front that it has, or as ids.
        translators: a lens fitted on this model, whose map at a depth goes in front of the
            readout there; the profile's provenance says so.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        LensProfile; its `kl` at depth L is 0. Of pairs whose last token is read it has a
        `contrast`, for which the corrupted prompts are run as well.
    Raises:
        ValueError: an empty prompt, a position beyond a prompt, `top_k` below 1, a text to follow
            that is not one token, translators of another model.
    Source: nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    Example:
        >>> logit_lens(model, "Two months from January is").kl.shape
        torch.Size([11, 1, 1])
    """
    if not 1 <= top_k <= model.d_vocab:
        raise ValueError(
            f"logit_lens: top_k must be between 1 and d_vocab ({model.d_vocab}), got {top_k}."
        )
    if translators is not None:
        translators.check_model(model, caller="logit_lens")
        translators = translators.to(model.device)
    followed = _followed(model, follow)
    known, texts, batch = gather_prompts(model, task)
    position = resolve_positions(batch, positions)

    def states_of(batch: TokenBatch, position: Int[Tensor, "prompt pos"], _: slice) -> Tensor:
        return model.residual_stream(batch, positions=position, batch_size=batch_size).resid

    other = None
    if known is not None and known.corrupted_tokens is not None and positions == "last":
        other = known.corrupted_tokens
    source = Source(
        info=model.info,
        readout=model.readout,
        states_of=states_of,
        token_text=model.token_text,
        device=model.device,
        explain=lambda batch, row, depth: not_finite(model, batch, row, reading=depth),
    )
    return lens_of(
        "logit_lens",
        source,
        batch,
        position,
        other,
        known,
        origin_of(known, texts),
        top_k=top_k,
        followed=followed,
        translators=translators,
        settings={
            "positions": positions if isinstance(positions, str) else "given",
            "follow": followed,
            "batch_size": batch_size,
            "max_memory": max_memory,
        },
    )


def _followed(model: DepthModel, follow: Sequence[str | int]) -> list[int]:
    """Token ids, of which a text is one."""
    found = []
    for token in follow:
        ids = [token] if isinstance(token, int) else []
        if isinstance(token, str) and token and model.tokenizer is not None:
            (ids,) = token_ids(model.tokenizer, [token], special=False)
        if len(ids) != 1 or not 0 <= ids[0] < model.d_vocab:
            parts = [shown(model.token_text(i)) for i in ids[:8] if isinstance(token, str)]
            raise ValueError(
                f"logit_lens: follow takes single tokens of this model; {shown(token, 40)} is "
                f"{' + '.join(parts) or 'none'}. Give it with the space in front that it has in a "
                f"text, or its id."
            )
        if isinstance(token, str) and model.unknown_words(token):
            raise ValueError(f"logit_lens: the tokenizer does not know {shown(token, 40)}.")
        found.append(ids[0])
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where states and logits come from: a model, or what was kept of one."""

    info: ModelInfo
    readout: Callable[..., Tensor]
    states_of: Callable[[TokenBatch, Int[Tensor, "prompt pos"], slice], Tensor]
    """Residual states of some prompts at all depths, `[depth, prompt, pos, d_model]`: by tokens,
    positions, and which rows of all prompts they are."""
    token_text: Callable[[int], str]
    device: torch.device
    """Where logits are measured."""
    explain: Callable[[TokenBatch, int, int], Exception]
    """The error about logits that are not finite: prompts, which of them, depth."""


def lens_of(
    analysis: str,
    source: Source,
    batch: TokenBatch,
    position: Int[Tensor, "prompt pos"],
    other: TokenBatch | None,
    known: Task | None,
    origin: dict[str, Any],
    *,
    top_k: int,
    translators: TunedLens | None,
    settings: dict[str, Any],
    followed: Sequence[int] = (),
) -> LensProfile:
    """What the lens reads.

    Args:
        analysis: name of the public function.
        source: of states and logits.
        batch: the prompts.
        position: of each, -1 beyond an end.
        other: the corrupted prompts, whose last tokens are read for the contrast; None for none.
        known: the task; None of prompts by themselves.
        origin: of the prompts, for the provenance.
        top_k: see `logit_lens`.
        translators: likewise.
        settings: further ones, for the provenance.
        followed: ids of tokens that are looked for wherever they stand.
    """
    answers = {} if known is None else {"target": known.target_ids, "foil": known.foil_ids}
    answers = {name: ids for name, ids in answers.items() if ids is not None}
    among = torch.cat([*answers.values()]).unique() if answers else None

    def own(
        states: Float[Tensor, "depth row d_model"], prompt: Int[Tensor, " row"]
    ) -> dict[str, Tensor]:
        logits = source.readout(states)
        these = {name: ids[prompt].to(logits.device) for name, ids in answers.items()}
        these |= {f"followed {i}": torch.full_like(prompt, token).to(logits.device)
                  for i, token in enumerate(followed)}  # fmt: skip
        others = {} if among is None else read_answers(logits, among.to(logits.device))
        return others | read_logits(logits, these, top_k)

    def between_answers(
        states: Float[Tensor, "depth row d_model"], prompt: Int[Tensor, " row"]
    ) -> dict[str, Tensor]:
        columns = torch.stack([answers["target"][prompt], answers["foil"][prompt]], dim=-1)
        logits = source.readout(states, columns.to(states.device).expand(len(states), -1, -1))
        return {"corrupted_logit_diff": logits[..., 0] - logits[..., 1]}

    def read_all(
        batch: TokenBatch, position: Int[Tensor, "prompt pos"], read: Read
    ) -> dict[str, Tensor]:
        info = source.info
        parts = [
            _read_rows(source, batch, position, rows, read, translators)
            for rows in _row_chunks(len(batch), position.shape[1], info.n_layers, info.d_model)
        ]
        return {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}

    read = read_all(batch, position, own)
    if other is not None:
        read |= read_all(other, other.last[:, None], between_answers)
    token = batch.tokens.cpu().gather(1, position.clamp(min=0))
    ids = torch.cat([token.flatten(), read["top_tokens"].flatten()]).unique().tolist()
    paths = {
        f"followed_{name}": torch.stack(
            [read.pop(f"followed {i}_{name}") for i in range(len(followed))], dim=-1
        )
        for name in ("log_prob", "rank")
        if followed
    }
    how = {
        "top_k": top_k,
        "translators": None if translators is None else translators.described(),
    }
    return LensProfile(
        provenance=make_provenance(analysis, source.info, **origin, settings=settings | how),
        position=position,
        token=token,
        vocabulary={str(i): source.token_text(i) for i in {*ids, *followed}},
        target_log_prob=read.pop("target_log_prob", None),
        target_rank=read.pop("target_rank", None),
        foil_log_prob=read.pop("foil_log_prob", None),
        foil_rank=read.pop("foil_rank", None),
        answers=among,
        followed=torch.tensor(followed, dtype=torch.long) if followed else None,
        **paths,
        **read,
    )


def _row_chunks(n_prompts: int, n_pos: int, n_layers: int, d_model: int) -> list[slice]:
    """Split the prompts so that the residual states of a chunk stay below 2^26 numbers."""
    rows = max(1, 2**26 // ((n_layers + 1) * n_pos * d_model))
    return [slice(start, start + rows) for start in range(0, n_prompts, rows)]


def positions_at_once(info: ModelInfo) -> int:
    """How many positions are read at all depths in one readout."""
    return max(1, LOGITS_AT_ONCE // (info.d_vocab * (info.n_layers + 1)))


def _read_rows(
    source: Source,
    batch: TokenBatch,
    position: Int[Tensor, "prompt pos"],
    rows: slice,
    read: Read,
    translators: TunedLens | None,
) -> dict[str, Tensor]:
    """Measures `[depth, prompt, pos]` of some of the prompts, a bounded part at a time."""
    batch, position = batch[rows], position[rows]
    resid = source.states_of(batch, position, rows)
    real = position >= 0
    prompt_of = torch.arange(len(batch)).unsqueeze(1).expand_as(position)[real]
    at_once = positions_at_once(source.info)
    parts = []
    split = zip(resid[:, real].split(at_once, dim=1), prompt_of.split(at_once), strict=True)
    for some, prompt in one_by_one([*split], "logit lens"):
        # To the model's device first, so that logits are measured where they are made.
        states = some.to(source.device)
        if translators is not None:
            states = translators.translate(states)
        try:
            parts.append(read(states, prompt + (rows.start or 0)))
        except NotFinite as error:
            depth, row = divmod(error.row, len(prompt))
            raise source.explain(batch, int(prompt[row]), depth) from error
    return {
        name: _scatter(torch.cat([part[name] for part in parts], dim=1).cpu(), real)
        for name in parts[0]
    }


def read_answers(
    logits: Float[Tensor, "depth row d_vocab"], answers: Int[Tensor, " answer"]
) -> dict[str, Tensor]:
    """Divergence, entropy and agreement of the distributions over some tokens alone."""
    among = logits[..., answers].float()
    first = among.argmax(-1)
    return {
        "answer_kl": metrics.kl_divergence(among[-1].expand_as(among), among),
        "answer_entropy": metrics.entropy(among),
        "answer_agreement": (first == first[-1]).float(),
    }


def read_logits(
    logits: Float[Tensor, "depth row d_vocab"], answers: dict[str, Int[Tensor, " row"]], top_k: int
) -> dict[str, Tensor]:
    """What is kept of the logits of a few rows at every depth; the logits are overwritten.

    The vocabulary is passed over as seldom as can be: one exponential serves the normaliser, the
    entropy and, at depth L, the divergence from the final distribution.
    """
    top_logits, top_tokens = logits.topk(top_k, dim=-1)
    final = top_tokens[-1, :, 0]
    named = {"final": final, **answers}
    own = {name: _at(logits, token) for name, token in named.items()}
    # Counted on the raw logits: what is subtracted below could round two of them to a tie.
    rank = {name: (logits > own[name].unsqueeze(-1)).sum(-1).float() for name in named}
    highest = top_logits[..., :1]
    logits -= highest
    exps = logits.exp()
    total = exps.sum(-1)
    log_total = total.log()
    entropy = log_total - torch.linalg.vecdot(exps, logits) / total
    if entropy.isfinite().all():
        # From differences of logits, which vanish exactly where the distributions are the same.
        logits -= logits[-1].clone()
        kl = log_total - log_total[-1]
        kl -= torch.linalg.vecdot(exps[-1].expand_as(logits), logits) / total[-1]
    else:  # a logit of minus infinity, which counts nothing where its probability is 0
        entropy = metrics.entropy(logits)
        kl = metrics.kl_divergence(logits[-1].expand_as(logits), logits)
    log_normaliser = highest[..., 0] + log_total
    read = {
        "kl": kl,
        "entropy": entropy,
        "top1_agreement": (top_tokens[..., 0] == final).float(),
        "top_tokens": top_tokens,
        "top_log_probs": top_logits - log_normaliser.unsqueeze(-1),
        "final_rank": rank["final"],
    }
    for name in answers:
        read[f"{name}_log_prob"] = own[name] - log_normaliser
        read[f"{name}_rank"] = rank[name]
    return read


def _at(
    logits: Float[Tensor, "depth row d_vocab"], token: Int[Tensor, " row"]
) -> Float[Tensor, "depth row"]:
    return logits.gather(-1, token.expand(len(logits), -1).unsqueeze(-1)).squeeze(-1)


def _scatter(values: Tensor, real: Tensor) -> Tensor:
    """Put `[depth, row, ...]` back to `[depth, prompt, pos, ...]`, NaN (or 0) beyond a prompt."""
    shape = (values.shape[0], *real.shape, *values.shape[2:])
    fill = torch.nan if values.is_floating_point() else 0
    out = torch.full(shape, fill, dtype=values.dtype)
    out[:, real] = values
    return out
