"""Which label each prompt has at a position, and folds that keep estimation and steering apart."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from lensdepth.sweep.roles import POSITION_NAMES, PositionName, Roles, assign_roles
from lensdepth.tasks.rows import listed
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch, number_texts, pad_tokens, told_apart

ATTEMPTS = 20
"""Orders in which prompts are dealt into folds, before there are more folds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """The labels at one position of all base and source prompts."""

    position: str
    names: tuple[str, ...]
    """What each label is called."""
    base: Int[Tensor, " pair"]
    """Label of each base prompt, as an index into `names`."""
    source: Int[Tensor, " pair"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Every base and source prompt once."""

    tokens: TokenBatch
    text: Int[Tensor, " prompt"]
    """Prompts of the same tokens have the same number; they differ in where their input lies."""
    positions: dict[str, Int[Tensor, " prompt"]]
    """Where each named position lies."""
    base: Int[Tensor, " pair"]
    """Which of the prompts is each pair's base."""
    source: Int[Tensor, " pair"]

    def __len__(self) -> int:
        return len(self.tokens)


def label_prompts(
    task: Task, roles: Roles, position: str, column: str | None, *, caller: str
) -> Labelled:
    """The labels of base and source prompts at a position.

    Args:
        task: the pairs.
        roles: which of their prompts is the base.
        position: "input" or "prediction".
        column: of the task's labels, with a twin `corrupted_...`. By default the input's own words
            at the input position, and the answer at the prediction position.
    Raises:
        ValueError: no such columns, or a pair whose two prompts have the same label.
    """
    clean, corrupted = _named(task, position, column, caller)
    names = tuple(sorted({*clean, *corrupted}))
    index = {name: i for i, name in enumerate(names)}
    sides = [torch.tensor([index[name] for name in side]) for side in (corrupted, clean)]
    base, source = sides if roles.mode == "denoise" else sides[::-1]
    alike = (base == source).nonzero()[:, 0].tolist()
    if alike:
        raise ValueError(
            f"{caller}: both prompts have the same label at the {position} position in "
            f"{rows(task, alike)} ({names[int(base[alike[0]])]!r}), so there is nothing to steer "
            f"to; leave these pairs out, or name another label column."
        )
    return Labelled(position=position, names=names, base=base, source=source)


def _named(
    task: Task, position: str, column: str | None, caller: str
) -> tuple[list[str], list[str]]:
    """Labels of the clean and of the corrupted prompts, as text."""
    if column is not None:
        twin = f"corrupted_{column}"
        for name in (column, twin):
            if name not in task.labels.columns:
                there = ", ".join(map(str, task.labels.columns)) or "none"
                raise ValueError(
                    f"{caller}: task {task.name!r} has no label column {name!r}; it has {there}. "
                    f"A label needs the columns NAME and corrupted_NAME."
                )
        sides = [[str(v) for v in task.labels[name].tolist()] for name in (column, twin)]
        return sides[0], sides[1]
    if position == "prediction":
        clean, corrupted = task.target, task.foil
    else:
        clean, corrupted = task.inputs, task.corrupted_inputs
    if clean is None or corrupted is None:
        raise ValueError(
            f"{caller}: nothing tells the labels at the {position} position of task "
            f"{task.name!r}; name a label column."
        )
    texts = told_apart([*clean, *corrupted])
    return texts[: len(clean)], texts[len(clean) :]


def rows(task: Task, pairs: Sequence[int]) -> str:
    """Pairs as an error names them."""
    return listed([task.where[i] for i in pairs])


def pool_prompts(roles: Roles) -> Pool:
    """The prompts of all pairs, those that several pairs share once."""
    numbers: dict[tuple[int, ...], int] = {}
    found: list[tuple[TokenBatch, int, int]] = []
    sides = []
    texts = number_texts(roles.base, roles.source)
    for batch, text, positions in zip(
        (roles.base, roles.source), texts, (roles.base_positions, roles.source_positions),
        strict=True,
    ):  # fmt: skip
        side = []
        places = (at.tolist() for at in positions.values())
        for i, key in enumerate(zip(text.tolist(), *places, strict=True)):
            if key not in numbers:
                numbers[key] = len(found)
                found.append((batch, i, key[0]))
            side.append(numbers[key])
        sides.append(torch.tensor(side))
    return Pool(
        tokens=pad_tokens([batch.row(i) for batch, i, _ in found], pad_id=found[0][0].row(0)[0]),
        text=torch.tensor([text for _, _, text in found]),
        positions={
            name: torch.tensor([key[1 + k] for key in numbers])
            for k, name in enumerate(roles.base_positions)
        },
        base=sides[0],
        source=sides[1],
    )


def members(pool: Pool, labelled: Labelled) -> Bool[Tensor, "prompt label"]:
    """Which prompts have which label."""
    has = torch.zeros(len(pool), len(labelled.names), dtype=torch.bool)
    has[pool.base, labelled.base] = True
    has[pool.source, labelled.source] = True
    return has


def accompanied(
    task: Task, roles: Roles, columns: Mapping[str, str | None], *, caller: str
) -> tuple[Bool[Tensor, " pair"], str]:
    """Pairs each of whose labels has other prompts among such pairs, and why others have not.

    Centroids come from other prompts than the steered ones, so that nothing leads to a label that
    no other prompt has. A pair that is left out may leave another one alone.

    Args:
        task: the pairs.
        roles: which of their prompts is the base.
        columns: position -> column of labels; see `label_prompts`.
    Raises:
        ValueError: as `label_prompts`, or no pair is left.
    """
    labels = [label_prompts(task, roles, p, c, caller=caller) for p, c in columns.items()]
    pool = pool_prompts(roles)
    kept, why = torch.arange(len(task)), ""
    while len(kept):
        some = replace(pool, base=pool.base[kept], source=pool.source[kept])
        alone = torch.zeros(len(kept), dtype=torch.bool)
        for every in labels:
            mine = replace(every, base=every.base[kept], source=every.source[kept])
            lonely = _others(some, mine, pool.text) == 0
            why = why or _of_one_prompt(task, every, kept[lonely].tolist())
            alone |= lonely
        if not alone.any():
            break
        kept = kept[~alone]
    if not len(kept):
        raise ValueError(
            f"{caller}: {why}; so it goes with all {len(task)} pairs. Every label needs two "
            f"different prompts at least, in pairs whose other label has two as well: add prompts "
            f"with these labels, such as the same words in another wording."
        )
    return torch.isin(torch.arange(len(task)), kept), why


def steered(
    task: Task, positions: Sequence[PositionName] = POSITION_NAMES
) -> Bool[Tensor, " pair"]:
    """The pairs that `steering_sweep` steers at these positions, by words and answers."""
    roles = assign_roles(task, "denoise", positions=tuple(positions), caller="steering_sweep")
    return accompanied(task, roles, dict.fromkeys(positions), caller="steering_sweep")[0]


def steered_task(task: Task, n_steered: int) -> Task:
    """The pairs that a sweep steered, of those that it was given.

    Args:
        task: what it was given.
        n_steered: pairs in its result; fewer where it left out those with a label of no other
            prompt.
    """
    if task.input_positions is None or n_steered == len(task):
        return task
    return task.select(steered(task))


def _of_one_prompt(task: Task, labelled: Labelled, lonely: Sequence[int]) -> str:
    """What is wrong with pairs that have a label of no other prompt; empty where there are none."""
    if not lonely:
        return ""
    ends = [labelled.names[int(end[lonely[0]])] for end in (labelled.base, labelled.source)]
    return (
        f"centroids are taken over other prompts than those that are steered, and at the "
        f"{labelled.position} position a label of {rows(task, lonely)} has no other prompt (one "
        f"of {' and '.join(map(repr, ends))} in {task.where[lonely[0]]})"
    )


def deal_folds(
    task: Task,
    pool: Pool,
    labels: Sequence[Labelled],
    *,
    n_folds: int,
    seed: int,
    caller: str,
) -> Int[Tensor, " prompt"]:
    """Label-balanced folds of prompts, such that every label has prompts outside a pair's folds.

    Prompts of the same tokens are in the same fold. Where so few folds leave a label of some pair
    with none, there are more of them, in the end one for each prompt.

    Raises:
        ValueError: fewer than three folds are asked for, or a label has no prompt but those of one
            pair; `accompanied` tells which pairs to leave out.
    """
    if n_folds < 3:
        raise ValueError(
            f"{caller}: n_folds must be at least 3, since the two prompts of a pair may lie in two "
            f"folds and the centroids come from the others; got {n_folds}."
        )
    for labelled in labels:
        lonely = (_others(pool, labelled, pool.text) == 0).nonzero()[:, 0].tolist()
        if lonely:
            raise ValueError(f"{caller}: {_of_one_prompt(task, labelled, lonely)}.")
    generator = torch.Generator().manual_seed(seed)
    n_texts = len(pool.text.unique())
    while n_folds < n_texts:
        for _ in range(ATTEMPTS):
            folds = _deal(pool, labels, n_folds, generator)
            left = torch.stack([_others(pool, labelled, folds) for labelled in labels])
            if (left > 0).all():
                return folds
        n_folds *= 2
    return _deal(pool, labels, n_texts, generator)


def _others(pool: Pool, labelled: Labelled, group: Int[Tensor, " prompt"]) -> Int[Tensor, " pair"]:
    """For each pair, how many prompts outside its two groups the rarer of its two labels has."""
    return torch.minimum(*centroid_sizes(pool, labelled, group))


def centroid_sizes(
    pool: Pool, labelled: Labelled, group: Int[Tensor, " prompt"]
) -> Int[Tensor, "end pair"]:
    """Prompts of each pair's base label and source label outside the groups of its two prompts."""
    counts = torch.zeros(int(group.max()) + 1, len(labelled.names), dtype=torch.long)
    counts.index_add_(0, group, members(pool, labelled).long())
    ends = (labelled.base, labelled.source)
    return torch.stack([outside_groups(counts, pool, group, label) for label in ends])


def outside_groups(
    sums: Shaped[Tensor, "group label *shape"],
    pool: Pool,
    group: Int[Tensor, " prompt"],
    label: Int[Tensor, " pair"],
) -> Shaped[Tensor, "pair *shape"]:
    """For each pair, the sum over all groups but those of its two prompts, for its label."""
    base, source = group[pool.base], group[pool.source]
    own = sums[base, label]
    apart = rearrange(base != source, "pair -> pair" + " 1" * (own.ndim - 1))
    return sums.sum(0)[label] - own - torch.where(apart, sums[source, label], 0)


def _deal(
    pool: Pool, labels: Sequence[Labelled], n_folds: int, generator: torch.Generator
) -> Int[Tensor, " prompt"]:
    """Prompts with rare labels first, each to the fold that has least of its labels."""
    wanted: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for i, labelled in enumerate(labels):
        for prompt, label in members(pool, labelled).nonzero().tolist():
            wanted[int(pool.text[prompt])].add((i, label))
    often = Counter(label for mine in wanted.values() for label in mine)
    order = torch.randperm(len(wanted), generator=generator).tolist()
    order.sort(key=lambda text: min(often[label] for label in wanted[text]))
    held: list[Counter[tuple[int, int]]] = [Counter() for _ in range(n_folds)]
    sizes = [0] * n_folds
    folds = torch.zeros(len(wanted), dtype=torch.long)
    for text in order:
        fold = min(range(n_folds), key=lambda f: (sum(held[f][x] for x in wanted[text]), sizes[f]))
        held[fold].update(wanted[text])
        sizes[fold] += 1
        folds[text] = fold
    return folds[pool.text]
