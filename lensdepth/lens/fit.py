"""Fit a tuned lens: at every depth the affine map after which the readout comes closest to the
model's final distribution.

The gradient of KL(p || q) by the logits of q is q - p, so nothing but the readout is
differentiated, and it for the translators alone: the model's weights get no gradient. Vocabulary
logits exist for a few positions at a time.

Source: Belrose et al. 2023, arXiv 2303.08112.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.lens.read import logit_lens, positions_at_once
from lensdepth.lens.tuned import TunedLens
from lensdepth.model import DepthModel
from lensdepth.progress import counted, unwatched
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import make_provenance
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch, pad_tokens


@renamed(prompts="task")
@checked
@bounded
def fit_tuned_lens(
    model: DepthModel,
    task: Task | Prompts,
    *,
    n_steps: int = 250,
    batch_tokens: int = 1024,
    learning_rate: float = 0.1,
    held_out: float = 0.2,
    include_first: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> TunedLens:
    """Fit one affine map a depth by KL(final || lens), at all positions of the prompts.

    Equal prompts count once, so that none is on both sides of the split; prompts that begin alike
    still share their first states.

    Args:
        model: any wrapped model; it is left as it was.
        task: a task (its clean prompts), or prompts. Give varied ones: a lens that was fitted
            on one task reads other tasks worse than the logit lens does. Of a text file:
            `lensdepth.lens.text_prompts`.
        n_steps: steps of Adam.
        batch_tokens: tokens in a step, about.
        learning_rate: the largest share of a state's norm by which one step can move it; it falls
            linearly to 0.
        held_out: share of the prompts that are not fitted, to measure KL on.
        include_first: fit position 0 too, an attention sink with a huge norm.
        seed: of the split and of the order of the prompts.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        TunedLens; `kl_before` and `kl_after` are of the held-out prompts.
    Raises:
        ValueError: an option out of range, fewer than two different prompts long enough, or a
            learning rate at which the fit diverges.
    Source: Belrose et al. 2023, https://arxiv.org/abs/2303.08112.
    Example:
        >>> lens = fit_tuned_lens(model, load_task("months", model))
        >>> logit_lens(model, "Two months from January is", translators=lens)
    """
    check_options(n_steps, batch_tokens, learning_rate, held_out)
    known, texts, given = gather_prompts(model, task)
    batch = _different(given, shortest=1 if include_first else 2)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(batch), generator=generator)
    n_held_out = min(max(1, round(held_out * len(batch))), len(batch) - 1)
    kept, fitted = batch[order[:n_held_out].sort().values], batch[order[n_held_out:]]
    settings = {
        "n_steps": n_steps,
        "batch_tokens": batch_tokens,
        "learning_rate": learning_rate,
        "held_out": held_out,
        "include_first": include_first,
        "batch_size": batch_size,
        "max_memory": max_memory,
        "n_fitted": len(fitted),
        "n_held_out": n_held_out,
    }
    first = 0 if include_first else 1
    with model.passes.differentiating("fit_tuned_lens"):
        weights, bias = _fit(
            model,
            fitted,
            first=first,
            n_steps=n_steps,
            n_prompts=_prompts_of_step(fitted, batch_tokens),
            learning_rate=learning_rate,
            generator=generator,
            batch_size=batch_size,
        )
    lens = TunedLens(
        provenance=make_provenance(
            "fit_tuned_lens",
            model.info,
            **origin_of(known, texts),
            settings=settings,
            seed=seed,
        ),
        kind="tuned",
        weights=weights,
        bias=bias,
        kl_before=None,
        kl_after=None,
    )
    found = {
        name: _held_out_kl(model, kept, translators, first, batch_size)
        for name, translators in (("kl_before", None), ("kl_after", lens))
    }
    return replace(lens, **found)


def estimate_seconds(
    model: DepthModel,
    task: Task | Prompts,
    *,
    n_steps: int = 250,
    batch_tokens: int = 1024,
    held_out: float = 0.2,
    seed: int = 0,
) -> float:
    """About how long `fit_tuned_lens` takes: steps on a few tokens are timed, on more than once.

    What a step costs by itself is told from what each token adds. Reading the held-out tokens
    twice costs about as much as fitting on them once.
    """
    check_options(n_steps, batch_tokens, 0.1, held_out)
    batch = _different(gather_prompts(model, task)[2], shortest=2)
    tried = [_some_tokens(batch, n) for n in PROBED_TOKENS]
    seconds = []
    with unwatched(), model.passes.differentiating("fit_tuned_lens"):
        for some in (tried[0], *tried):  # the first readies the model
            start = time.perf_counter()
            _fit(
                model, some, first=1, n_steps=1, n_prompts=len(some), learning_rate=0.1,
                generator=torch.Generator().manual_seed(seed), batch_size=None,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
    few, more = (int((some.lengths - 1).sum()) for some in tried)
    each = (seconds[2] - seconds[1]) / (more - few) if more > few else 0.0
    each = max(each, 0.2 * seconds[2] / more)  # other work may have slowed the first one
    step = max(seconds[2] - more * each, 0.0)
    tokens = int((batch.lengths - 1).sum())
    fitted = min(_prompts_of_step(batch, batch_tokens) / len(batch), 1 - held_out) * tokens
    return n_steps * (step + fitted * each) + held_out * tokens * each


PROBED_TOKENS = (16, 48)
"""Tokens of the two steps that are timed."""


def _some_tokens(batch: TokenBatch, n: int) -> TokenBatch:
    """The first prompts of a batch up to so many tokens, the last one cut; two tokens at least."""
    rows: list[list[int]] = []
    for i in range(len(batch)):
        left = n - sum(map(len, rows))
        if left < 2:
            break
        rows.append(batch.row(i)[:left])
    return pad_tokens(rows, pad_id=0)


def _prompts_of_step(batch: TokenBatch, batch_tokens: int) -> int:
    """Prompts that have about so many tokens together."""
    return max(1, round(batch_tokens / float(batch.lengths.float().mean())))


def check_options(n_steps: int, batch_tokens: int, learning_rate: float, held_out: float) -> None:
    """Refuse what is out of range."""
    for name, value in (("n_steps", n_steps), ("batch_tokens", batch_tokens)):
        if value < 1:
            raise ValueError(f"fit_tuned_lens: {name} must be at least 1, got {value}.")
    for name, share in (("learning_rate", learning_rate), ("held_out", held_out)):
        if not 0 < share < 1:
            raise ValueError(f"fit_tuned_lens: {name} must lie between 0 and 1, got {share}.")


def _different(batch: TokenBatch, *, shortest: int) -> TokenBatch:
    """Each prompt once, those of fewer tokens left out."""
    rows: dict[tuple[int, ...], int] = {}
    for i in range(len(batch)):
        rows.setdefault(tuple(batch.row(i)), i)
    long_enough = [i for ids, i in rows.items() if len(ids) >= shortest]
    if len(long_enough) < 2:
        raise ValueError(
            f"fit_tuned_lens: at least 2 different prompts of {shortest} or more tokens are "
            f"needed, one to fit and one held out, got {len(long_enough)}. Give more prompts."
        )
    return batch[torch.tensor(long_enough)]


def _prompts_of_steps(
    n: int, n_prompts: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " prompt"]]:
    """Rows for one step after another: all of them in a new order again and again."""
    endless = itertools.chain.from_iterable(
        torch.randperm(n, generator=generator).tolist() for _ in itertools.count()
    )
    while True:
        yield torch.tensor(list(itertools.islice(endless, min(n_prompts, n))))


def _fit(
    model: DepthModel,
    batch: TokenBatch,
    *,
    first: int,
    n_steps: int,
    n_prompts: int,
    learning_rate: float,
    generator: torch.Generator,
    batch_size: int | None,
) -> tuple[Float[Tensor, "depth d_model d_model"], Float[Tensor, "depth d_model"]]:
    n_layers, d_model = model.n_layers, model.d_model
    weights = torch.zeros(
        n_layers, d_model, d_model, device=model.device, requires_grad=True, dtype=torch.float32
    )
    # In units of a depth's own states: norms grow with depth, and one step size is to fit all.
    shift = torch.zeros(
        n_layers, d_model, device=model.device, requires_grad=True, dtype=torch.float32
    )
    unit: Any = None
    optimiser = torch.optim.Adam(
        # A step of Adam moves each number by the step size at most: of a state of norm r, whose
        # entries sum up to sqrt(d) r at most, all d weights of a row move an entry by that much.
        [{"params": [weights], "lr": learning_rate / d_model}, {"params": [shift]}],
        lr=learning_rate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / n_steps)
    steps = _prompts_of_steps(len(batch), n_prompts, generator)
    with counted(n_steps, "tuned lens") as update:
        for _ in range(n_steps):
            stream = model.residual_stream(batch[next(steps)], "all", batch_size=batch_size)
            states = stream.resid[:, stream.positions >= first]
            if unit is None:
                unit = states[:-1].square().mean((1, 2)).sqrt().to(model.device).unsqueeze(-1)
            weights.grad, shift.grad = torch.zeros_like(weights), torch.zeros_like(shift)
            for some in states.split(positions_at_once(model.info), dim=1):
                by_weights, by_shift = _gradients(model, some, weights, shift, unit)
                weights.grad += by_weights / states.shape[1]
                shift.grad += by_shift / states.shape[1]
            optimiser.step()
            schedule.step()
            update(1)
    weights, bias = weights.detach().cpu(), (shift.detach() * unit).cpu()
    if not (weights.isfinite().all() and bias.isfinite().all()):
        raise ValueError(
            f"fit_tuned_lens: the fit diverged at learning_rate {learning_rate}; give a smaller "
            f"one."
        )
    return weights, bias


def _gradients(
    model: DepthModel,
    states: Float[Tensor, "depths row d_model"],
    weights: Float[Tensor, "depth d_model d_model"],
    shift: Float[Tensor, "depth d_model"],
    unit: Float[Tensor, "depth 1"],
) -> tuple[Float[Tensor, "depth d_model d_model"], Float[Tensor, "depth d_model"]]:
    """Gradients of the divergence summed over rows; each depth's touches its own map alone."""
    states = states.to(model.device)
    final = model.readout(states[-1]).softmax(-1)
    moved = torch.baddbmm((shift * unit).unsqueeze(1), states[:-1], weights.mT)
    logits = model.readout(states[:-1] + moved, grad=True)
    pull = logits.detach().softmax(-1) - final
    by_weights, by_shift = torch.autograd.grad(logits, (weights, shift), pull)
    return by_weights, by_shift


def _held_out_kl(
    model: DepthModel,
    batch: TokenBatch,
    translators: TunedLens | None,
    first: int,
    batch_size: int | None,
) -> Float[Tensor, "prompt depth"]:
    """Mean over each prompt's positions, at the depths that have a map."""
    profile = logit_lens(
        model, batch, positions="all", top_k=1, translators=translators, batch_size=batch_size
    )
    return profile.kl[:-1, :, first:].nanmean(-1).T
