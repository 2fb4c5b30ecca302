"""From sets of edits to runs: which layers and positions each can change, and what acts where.

A run is one set of edits on one prompt. It joins the replay at the first depth that one of its
edits touches, holds the positions from its first edited to its last read one, and is dropped
where no edit can reach what is read.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.hooks import SiteEdit, apply_edit
from lensdepth.replay.attention import Group
from lensdepth.sending import sent
from lensdepth.site import INSIDE, block_site


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Runs, one entry each, in the order in which their tokens are packed."""

    sets: Int[Tensor, " run"]
    prompts: Int[Tensor, " run"]
    starts: Int[Tensor, " run"]
    """First position held."""
    stops: Int[Tensor, " run"]
    """One past the last position held."""
    depths: Int[Tensor, " run"]
    """Depth at which the run joins."""

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, rows: slice | Int[Tensor, " row"] | Bool[Tensor, " run"]) -> "Runs":
        return Runs(**{name: value[rows] for name, value in vars(self).items()})

    @property
    def lengths(self) -> Int[Tensor, " run"]:
        """Tokens of each run."""
        return self.stops - self.starts

    @property
    def offsets(self) -> Int[Tensor, " run"]:
        """Where each run begins in the packed sequence."""
        return self.lengths.cumsum(0) - self.lengths

    def chunks(self, max_tokens: int) -> Iterator["Runs"]:
        """Parts of at most so many tokens (or a single run), alike runs together."""
        order = np.lexsort(
            [x.numpy() for x in (self.depths, self.sets, self.prompts, self.stops, self.starts)]
        )
        ordered = self[torch.from_numpy(order)]
        ends = ordered.lengths.cumsum(0)
        first, n = 0, len(ordered)
        while first < n:
            before = int(ends[first - 1]) if first else 0
            last = int(torch.searchsorted(ends, before + max_tokens, right=True))
            last = max(last, first + 1)
            chunk = ordered[first:last]
            # Runs that have joined must be the first ones at any depth.
            yield chunk[chunk.depths.argsort(stable=True)]
            first = last


def plan_runs(
    edit_sets: Sequence[Sequence[SiteEdit]],
    read: Int[Tensor, "prompt pos"],
    only: Bool[Tensor, "set prompt"],
    last_depth: int,
) -> tuple[Runs, Bool[Tensor, "set prompt"]]:
    """The runs that can change what is read, and which of the asked ones cannot.

    Args:
        edit_sets: with positions from the start, at hooks that `block_site` knows.
        read: positions that are read, -1 for none.
        only: the runs that are asked for.
        last_depth: deepest depth that is read.
    """
    n_sets, n_prompts = only.shape
    stop = read.amax(1) + 1
    far = torch.iinfo(torch.int64).max
    starts = torch.full((n_sets, n_prompts), far)
    depths = torch.full((n_sets, n_prompts), far)
    for i, edits in enumerate(edit_sets):
        for edit in edits:
            place = block_site(edit.hook)
            assert place is not None
            acts = (edit.positions < stop) & (place.joins + (place.stream in INSIDE) <= last_depth)
            starts[i] = torch.where(acts, torch.minimum(starts[i], edit.positions), starts[i])
            depths[i] = torch.where(acts, depths[i].clamp(max=place.joins), depths[i])
    running = only & (starts < far)
    sets, prompts = running.nonzero(as_tuple=True)
    runs = Runs(
        sets=sets,
        prompts=prompts,
        starts=starts[running],
        stops=stop[prompts],
        depths=depths[running],
    )
    return runs, only & ~running


def rows_of(
    edit_sets: Sequence[Sequence[SiteEdit]],
    read: Int[Tensor, "prompt pos"],
    only: Bool[Tensor, "set prompt"],
    last_depth: int,
) -> int:
    """Tokens of these runs, each counted in every block that it goes through."""
    known = [[edit for edit in edits if block_site(edit.hook) is not None] for edits in edit_sets]
    runs, _ = plan_runs(known, read, only, last_depth)
    return int((runs.lengths * (last_depth - runs.depths).clamp(min=0)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedEdit:
    """Like edits of several runs at one hook."""

    edit: SiteEdit
    """Its function and head; the positions and sources are those below."""
    at: Int[Tensor, " state"]
    """Where the states stand in the packed sequence; on the CPU."""
    tokens: Int[Tensor, " state"]
    """The same where the states are."""
    source: Float[Tensor, "state d_model"] | None


def pack_edits(
    edit_sets: Sequence[Sequence[SiteEdit]],
    runs: Runs,
    device_at: Callable[[int], torch.device],
) -> dict[str, list[PackedEdit]]:
    """The edits of some runs by hook, in the order in which they act.

    Edits with the same function are made in one call: an edit treats states one by one.

    Args:
        edit_sets: with positions from the start.
        runs: on their way together.
        device_at: where the states of a depth are.
    """
    found: dict[tuple[str, int, int, int | None, bool], list[tuple[SiteEdit, Tensor, Tensor]]]
    found = defaultdict(list)
    order = runs.sets.argsort(stable=True)
    present, counts = runs.sets[order].unique_consecutive(return_counts=True)
    offsets = runs.offsets
    for i, rows in zip(present.tolist(), order.split(counts.tolist()), strict=True):
        prompts = runs.prompts[rows]
        begin, stop = offsets[rows] - runs.starts[rows], runs.stops[rows]
        nth: dict[str, int] = defaultdict(int)
        for edit in edit_sets[i]:
            at = edit.positions[prompts]
            acts = at < stop
            key = (edit.hook, nth[edit.hook], id(edit.edit), edit.head, edit.source is None)
            nth[edit.hook] += 1
            if bool(acts.all()):
                found[key].append((edit, begin + at, prompts))
            elif bool(acts.any()):
                found[key].append((edit, (begin + at)[acts], prompts[acts]))
    packed: dict[str, list[PackedEdit]] = defaultdict(list)
    for (hook, *_), parts in sorted(found.items(), key=lambda item: item[0][1]):
        place = block_site(hook)
        assert place is not None
        device = device_at(place.joins)
        sources = [edit.source[prompts] for edit, _, prompts in parts if edit.source is not None]
        at = torch.cat([tokens for _, tokens, _ in parts])
        packed[hook].append(
            PackedEdit(
                edit=parts[0][0],
                at=at,
                tokens=sent(at, device),
                source=sent(torch.cat(sources), device) if sources else None,
            )
        )
    return packed


def apply_packed(
    x: Float[Tensor, "token ..."],
    edits: Sequence[PackedEdit],
    rows: Int[Tensor, " packed"] | None = None,
) -> Float[Tensor, "token ..."]:
    """Packed states after the edits, in a new tensor.

    Args:
        x: the packed sequence, or some rows of it.
        edits: in the order in which they act.
        rows: where each token of the packed sequence stands in `x`, -1 where it does not; on the
            CPU.
    """
    x = x.clone()
    for packed in edits:
        tokens, source = packed.tokens, packed.source
        if rows is not None:
            # Known on the CPU, so that no device has to say how many there are.
            there = rows[packed.at]
            here = (there >= 0).nonzero()[:, 0]
            tokens = sent(there[here], x.device)
            source = None if source is None else source[sent(here, x.device)]
        if len(tokens):
            x[tokens] = apply_edit(packed.edit, x[tokens], source)
    return x


def group_runs(
    runs: Runs, asked: Int[Tensor, "run query"] | None, *, ragged: bool = False
) -> list[Group]:
    """Runs for attention: alike ones together.

    Args:
        runs: those that have joined, in packed order.
        asked: the positions that ask, where not all of a run's do; their queries stand run by run
            in a packed sequence of their own.
        ragged: let runs be alike that start at different positions, in fewer and larger groups.
    """
    offsets, n_prompts = runs.offsets, int(runs.prompts.max()) + 1
    far = int(runs.stops.max()) + 1
    # One number says start, stop and prompt: sorting numbers is far quicker than sorting rows.
    starts = torch.zeros_like(runs.starts) if ragged else runs.starts
    spans, which, n_each = torch.unique(
        (starts * far + runs.stops) * n_prompts + runs.prompts,
        return_inverse=True,
        return_counts=True,
    )
    order = which.argsort(stable=True)
    first = n_each.cumsum(0) - n_each
    most = int(n_each.max()) + 1
    kinds, kind = torch.unique(spans // n_prompts * most + n_each, return_inverse=True)
    groups = []
    for index, code in enumerate(kinds.tolist()):
        start, stop, n = code // most // far, code // most % far, code % most
        mine = (kind == index).nonzero()[:, 0]
        rows = order[first[mine][:, None] + torch.arange(n)]  # prompt run
        begin = runs.starts[rows]
        if ragged:
            start = int(begin.max())
        # From their ends on: a place means one position in all runs.
        length = stop - int(begin.min())
        last = offsets[rows] + stop - begin - 1
        keys = last[..., None] - torch.arange(length).flip(0)
        real = stop - length + torch.arange(length) >= begin[..., None]
        keys = torch.where(real, keys, last[..., None])
        queries, positions = keys, None
        if asked is not None:
            positions = asked[rows]
            queries = rows[..., None] * asked.shape[1] + torch.arange(asked.shape[1])
        whole = bool(real.all())
        groups.append(
            Group(
                start=start,
                stop=stop,
                prompts=spans[mine] % n_prompts,
                keys=keys,
                queries=queries,
                positions=positions,
                starts=None if whole else begin,
                real=None if whole or asked is not None else real.flatten().nonzero()[:, 0],
            )
        )
    return groups
