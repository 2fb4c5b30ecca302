"""What an analysis runs on: plain prompts, or the base and the source of a task of pairs.

Denoising edits the corrupted run with states from the clean one, and the intended answer is the
target; noising edits the clean run with states from the corrupted one, and it is the foil.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.model import DepthModel
from lensdepth.tasks import Task
from lensdepth.tokens import Prompts, TokenBatch

logger = logging.getLogger(__name__)

Mode = Literal["denoise", "noise"]
MODES: tuple[Mode, ...] = ("denoise", "noise")
PositionName = Literal["input", "prediction"]
POSITION_NAMES: tuple[PositionName, ...] = ("input", "prediction")
Scope = Literal["local", "suffix", "prefix", "all"]
"""Which depths one run edits: `local` this one alone; globally `suffix` from this one on, `prefix`
up to this one, `all` of them."""


def gather_prompts(
    model: DepthModel, prompts: Task | Prompts
) -> tuple[Task | None, list[str], TokenBatch]:
    """The task if it is one, the prompts as text, and their tokens; ids stand for themselves."""
    if isinstance(prompts, Task):
        return prompts, list(prompts.clean), prompts.clean_tokens
    batch = model.tokenize(prompts)
    if isinstance(prompts, str):
        return None, [prompts], batch
    given = [None] * len(batch) if isinstance(prompts, TokenBatch) else prompts
    texts = [p if isinstance(p, str) else str(batch.row(i)) for i, p in enumerate(given)]
    return None, texts, batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles:
    """The base run is edited, the source run gives the state."""

    mode: Mode
    base: TokenBatch
    source: TokenBatch
    base_positions: dict[str, Int[Tensor, " pair"]]
    """Where each named position lies in the base prompts."""
    source_positions: dict[str, Int[Tensor, " pair"]]
    target: Int[Tensor, " pair"]
    foil: Int[Tensor, " pair"]

    def of(self, pairs: slice) -> "Roles":
        """The roles of some of the pairs."""
        return Roles(
            mode=self.mode,
            base=self.base[pairs],
            source=self.source[pairs],
            base_positions={name: at[pairs] for name, at in self.base_positions.items()},
            source_positions={name: at[pairs] for name, at in self.source_positions.items()},
            target=self.target[pairs],
            foil=self.foil[pairs],
        )

    @property
    def intended(self) -> Int[Tensor, " pair"]:
        """The answer of the source run, which a successful intervention brings about."""
        return self.target if self.mode == "denoise" else self.foil


def assign_roles(task: Task, mode: Mode, *, positions: tuple[str, ...], caller: str) -> Roles:
    """Name the runs and find the positions, or say what the task lacks.

    Raises:
        ValueError: unknown mode or position name, a task without pairs or without an input
            position where one is asked for.
    """
    if mode not in MODES:
        raise ValueError(f"{caller}: mode must be one of {', '.join(MODES)}, got {mode!r}.")
    for name in positions:
        if name not in POSITION_NAMES:
            raise ValueError(
                f"{caller}: positions are named {' or '.join(POSITION_NAMES)}, got {name!r}."
            )
    if (
        task.corrupted_tokens is None
        or task.target_ids is None
        or task.foil_ids is None
        or task.corrupted_prediction_positions is None
    ):
        raise ValueError(
            f"{caller}: task {task.name!r} has plain prompts alone; interventions need pairs with "
            f"the columns clean, corrupted, target and foil."
        )
    clean = {"prediction": task.prediction_positions}
    corrupted = {"prediction": task.corrupted_prediction_positions}
    if "input" in positions:
        if task.input_positions is None or task.corrupted_input_positions is None:
            raise ValueError(
                f"{caller}: task {task.name!r} has no input position; add the columns input and "
                f"corrupted_input, or ask for the prediction position alone."
            )
        clean["input"] = task.input_positions
        corrupted["input"] = task.corrupted_input_positions
    denoise = mode == "denoise"
    return Roles(
        mode=mode,
        base=task.corrupted_tokens if denoise else task.clean_tokens,
        source=task.clean_tokens if denoise else task.corrupted_tokens,
        base_positions=corrupted if denoise else clean,
        source_positions=clean if denoise else corrupted,
        target=task.target_ids,
        foil=task.foil_ids,
    )


def say_undefined(
    base: Float[Tensor, " pair"], source: Float[Tensor, " pair"], *, metric: str, caller: str
) -> None:
    """Say how many pairs have no transferred fraction, so that means are over the others."""
    n = int(metrics.transferred_fraction(base, base, source).isnan().sum())
    if n:
        logger.warning(
            "%s: base and source have the same %s in %d of %d pairs; these have no transferred "
            "fraction, and its means are over the others.",
            caller, metric, n, len(base),
        )  # fmt: skip


def shuffled_sources(answers: Int[Tensor, " pair"], seed: int) -> Int[Tensor, " pair"]:
    """For each pair another pair to take the source from, with another answer wherever possible.

    Pairs are lined up by answer (at random within one) and shifted by the size of the largest
    group, so no pair meets its own answer unless one answer holds over half of the pairs.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(answers), generator=generator)
    order = order[answers[order].argsort(stable=True)]
    largest = int(answers.unique(return_counts=True)[1].max())
    shift = largest if largest < len(answers) else 1
    partner = torch.empty_like(order)
    partner[order] = order.roll(shift)
    return partner


def other_pairs(
    n_pairs: int, fits: Callable[[int], Bool[Tensor, " pair"]], seed: int
) -> Int[Tensor, " pair"]:
    """For each pair one of those that fit it, drawn at random; -1 where none does.

    Args:
        n_pairs: how many there are.
        fits: from a pair to those that may stand in for it.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.full((n_pairs,), -1)
    for pair in range(n_pairs):
        others = fits(pair).nonzero()[:, 0]
        if len(others):
            chosen[pair] = others[torch.randint(len(others), (1,), generator=generator)]
    return chosen


def pair_noise(pairs: range, shape: tuple[int, ...], seed: int) -> Float[Tensor, "pair *shape"]:
    """Standard normal numbers that depend on the pair and the seed alone, not on the batch."""
    drawn = []
    for pair in pairs:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + pair)
        drawn.append(torch.randn(shape, generator=generator, dtype=torch.float32))
    return torch.stack(drawn)


def check_depths(depths: object, n_layers: int, *, caller: str) -> list[int]:
    """The asked depths, or all of 0 ... n_layers.

    Raises:
        ValueError: they are no list of whole numbers, one lies outside that range or stands twice,
            or there is none at all.
    """
    if depths is None:
        return list(range(n_layers + 1))
    asked: list[int] = list(depths) if isinstance(depths, Iterable) else []
    fit = all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d <= n_layers for d in asked)
    if not asked or not fit or len(set(asked)) < len(asked):
        raise ValueError(
            f"{caller}: depths must lie between 0 and {n_layers} (n_layers) and be a list of "
            f"different whole numbers, got {depths!r}."
        )
    return asked


def scope_depths(scope: Scope, depth: int, n_layers: int) -> list[int]:
    """The depths that one run of this scope edits, ascending."""
    first = depth if scope in ("local", "suffix") else 0
    last = depth if scope in ("local", "prefix") else n_layers
    return list(range(first, last + 1))


def check_scopes(scopes: Sequence[str], *, caller: str) -> tuple[Scope, ...]:
    """The asked scopes, each once.

    Raises:
        ValueError: one of them is none, or there is none at all.
    """
    known = get_args(Scope)
    wrong = [scope for scope in scopes if scope not in known]
    if isinstance(scopes, str) or wrong or not scopes:
        raise ValueError(f"{caller}: scopes must be some of {', '.join(known)}, got {scopes!r}.")
    return tuple(dict.fromkeys(scopes))  # type: ignore[arg-type]
