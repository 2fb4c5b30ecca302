"""The edits of a sweep: which hooks, which states go in, and which runs need no computing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.hooks import SiteEdit, Stream, depth_hook, site_hook
from lensdepth.model import DepthModel
from lensdepth.patching.spans import Span, same_states
from lensdepth.polar import EDITS, Edit
from lensdepth.roles import Roles, check_depths
from lensdepth.tokens import TokenBatch


def check_model(model: DepthModel, stream: str, *, caller: str) -> None:
    """Say which streams there are, and whether the weights are numbers.

    Raises:
        ValueError: the stream is none, or not of this architecture; or a weight is NaN.
    """
    if stream not in get_args(Stream):
        raise ValueError(
            f"{caller}: stream must be one of {', '.join(get_args(Stream))}, got {stream!r}."
        )
    there = [name for name in get_args(Stream) if site_hook(name, 0) in model.hook_points]
    if stream not in there:
        raise ValueError(
            f"{caller}: {model.info.architecture} has no {stream}; it has {', '.join(there)}."
        )
    model.check_weights()


def stream_depths(
    model: DepthModel, stream: Stream, depths: Sequence[int] | None, *, caller: str
) -> list[int]:
    """Where a stream is patched: depths 0 ... L of the residual stream, else blocks 0 ... L - 1."""
    last = model.n_layers if stream == "resid_pre" else model.n_layers - 1
    given = None if depths is None else list(depths)
    return check_depths(given, last, caller=caller)


def stream_hook(model: DepthModel, stream: Stream, depth: int) -> str:
    """The hook at one of those places."""
    if stream == "resid_pre":
        return depth_hook(depth, model.n_layers)
    return site_hook(stream, depth)


def check_heads(
    model: DepthModel, stream: str, heads: Sequence[int] | str | None, *, caller: str
) -> tuple[int, ...]:
    """The heads to patch one by one; none where all of a stream goes together.

    Raises:
        ValueError: heads of another stream than `z`, or one that is not there.
    """
    if heads is None:
        return ()
    n_heads = model.info.n_heads
    asked = tuple(range(n_heads)) if heads == "all" else heads
    if stream != "z":
        raise ValueError(f"{caller}: heads are patched at stream='z', got {stream!r}.")
    if isinstance(asked, str) or not asked or not all(0 <= h < n_heads for h in asked):
        raise ValueError(f"{caller}: heads must lie in 0...{n_heads - 1} or be 'all', got {heads}.")
    return tuple(asked)


def named_edit(edit: str | Edit, *, caller: str) -> tuple[str, Edit]:
    """An edit and its name.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(edit, str):
        if edit not in EDITS:
            raise ValueError(
                f"{caller}: edit must be one of {', '.join(EDITS)} or a function of the state "
                f"found and the source's, got {edit!r}."
            )
        return edit, EDITS[edit]
    return getattr(edit, "__name__", "edit"), edit


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """States that go into spans, by hook."""

    states: Float[Tensor, "hook pair token d_hook"]
    spans: list[slice]
    """Which of the tokens belong to which span."""
    present: Bool[Tensor, "span pair"]

    def at(self, hook: int, span: int) -> Float[Tensor, "pair token d_hook"]:
        """What goes in at one hook."""
        return self.states[hook, :, self.spans[span]]


def states_at(
    model: DepthModel,
    prompts: TokenBatch,
    hooks: Sequence[str],
    positions: Sequence[Int[Tensor, "pair _"]],
) -> Given:
    """Read the states of some prompts at some spans; a token of position -1 is read as 0."""
    together = torch.cat(list(positions), dim=1)
    # "All" of a batch may lack positions, an index may not: absent ones are read at 0, unused.
    states = model.activations(prompts, hooks, together.clamp(min=0))
    ends = torch.tensor([p.shape[1] for p in positions]).cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return Given(
        states=states,
        spans=[slice(a, b) for a, b in zip(starts, ends, strict=True)],
        present=torch.stack([(p >= 0).any(1) for p in positions]),
    )


class EditSets:
    """Sets of edits under construction; the first is the base run itself.

    Args:
        n_pairs: prompts of the base run.
    """

    def __init__(self, n_pairs: int) -> None:
        self.sets: list[list[SiteEdit]] = [[]]
        self.masks: list[Bool[Tensor, " pair"]] = [torch.ones(n_pairs, dtype=torch.bool)]
        self.sites: list[int] = [-1]
        """Which entry of the result each set fills; spans of several widths need several sets."""

    @property
    def only(self) -> Bool[Tensor, "set pair"]:
        """Which prompts each set runs on."""
        return torch.stack(self.masks)

    def add(
        self,
        site: int,
        hooks: Sequence[str],
        tokens: Int[Tensor, "pair token"],
        states: Sequence[Float[Tensor, "pair token d_hook"]],
        edit: Edit | Sequence[Edit],
        *,
        wanted: Bool[Tensor, " pair"],
        head: int | None = None,
    ) -> None:
        """Edit one span in one run, at one hook or at several.

        Args:
            site: the entry of the result.
            hooks: where to edit.
            tokens: the span, -1 behind its end.
            states: what goes in, for each hook.
            edit: the same at each of them, or one for each.
            wanted: the pairs to run.
            head: at `z`, the one head that `states` are of.
        """
        edits = edit if isinstance(edit, Sequence) else [edit] * len(hooks)
        widths = (tokens >= 0).sum(1)
        for width in widths[wanted].unique().tolist():
            if width:
                self.sites.append(site)
                self.masks.append(wanted & (widths == width))
                self.sets.append(
                    [
                        SiteEdit(
                            hook=hook,
                            positions=tokens[:, j].clamp(min=0),
                            edit=one,
                            source=given[:, j],
                            head=head,
                        )
                        for hook, given, one in zip(hooks, states, edits, strict=True)
                        for j in range(width)
                    ]
                )

    def filled(self, read: Float[Tensor, "set pair"], n_sites: int) -> Float[Tensor, "site pair"]:
        """Numbers by site: what was run as it came out, the rest as the base run has it."""
        values = read[0].expand(n_sites, -1).clone()
        for i, site in enumerate(self.sites):
            if site >= 0:
                values[site] = torch.where(self.masks[i], read[i], values[site])
        return values


def unneeded(
    roles: Roles, spans: Sequence[Span], depths: Sequence[int], *, residual: bool
) -> Bool[Tensor, "depth span pair"]:
    """Sites whose swap changes nothing, because base and source agree there by their tokens."""
    before, alike = zip(*(same_states(roles, span) for span in spans), strict=True)
    everywhere, at_0 = torch.stack(before), torch.stack(alike)
    return torch.stack([everywhere | at_0 if residual and d == 0 else everywhere for d in depths])
