"""What a patch sweep found, by pair, depth, position and head."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import Effects, Label
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MAIN = "none"
"""Label of the edit itself on the axis of its controls."""
WHOLE = "all"
"""Label of a whole stream on the axis of heads."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class PatchProfile(SweepResult):
    """Outcome of editing one site at a time. What a pair does not have is NaN."""

    MADE_BY: ClassVar[str] = "patch_sweep(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    method: str
    """`exact`, or `attribution` where the numbers are first-order estimates."""
    labels: tuple[str, ...]
    """What stands at each position, where that is the same for all pairs; else its name."""
    outcome: Effects
    """By control (`none`, then those that were run), pair, depth, position and head."""
    self_patch_error: float
    """Largest change of any logit when the base run's own states are put back, in the first pairs;
    must be 0 up to rounding."""
    exact_values: Float[Tensor, "pair depth position head"] | None
    """With `attribution`: the main metric by exact patching at the largest sites, else NaN."""
    rank_correlation: float | None
    """Spearman's, between estimated and exact mean effects at those sites."""

    @property
    def metric(self) -> str:
        """The main metric."""
        return self.metrics[0]

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        """Residual depths 0 ... L at `resid_pre`; blocks 0 ... L - 1 at the other streams."""
        return self.outcome.places("depth")

    @property
    def depths_found(self) -> bool:
        """Whether these are the depths where a curve moves, and others lie unmeasured between."""
        return bool(self.provenance.settings.get("depths_found"))

    @property
    def positions(self) -> tuple[str, ...]:
        return self.outcome.names("position")

    @property
    def heads(self) -> tuple[int, ...]:
        """Heads that were patched one by one; none where the whole stream was."""
        named = self.outcome.coords["head"]
        return () if named == (WHOLE,) else tuple(map(int, named))

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that were run."""
        return self.outcome.names("control")[1:]

    @property
    def base_values(self) -> Float[Tensor, "metric pair"]:
        """The unedited base run."""
        return self.outcome.base

    @property
    def source_values(self) -> Float[Tensor, "metric pair"]:
        return self.outcome.source

    @property
    def values(self) -> Float[Tensor, "metric pair depth position head"]:
        """The edited runs; the last axis has one entry where no heads were named."""
        return self.outcome.values[:, 0]

    @property
    def control_values(self) -> Float[Tensor, "control metric pair depth position head"]:
        """The same with another pair's source, or at another position."""
        return rearrange(self.outcome.values[:, 1:], "m c p d s h -> c m p d s h")

    def of(
        self, metric: str | None = None, *, control: Label | None = None, **labels: Label | None
    ) -> Tensor:
        """Numbers at some labels, as `Effects.of` says it: `of("kl", position="input")`.

        Args:
            metric: one of `metrics`, `"effect"` or `"transferred"`.
            control: one of `controls`; None for the edit itself.
            labels: of `depth`, `position`, `head`. Where no heads were named, there is no axis of
                them.
        Raises:
            ValueError: there is no such metric, axis or label, or that control was not run.
        """
        if control is not None and control not in self.controls:
            there = ", ".join(self.controls) or "none"
            raise ValueError(f"PatchProfile: control {control!r} was not run; there are {there}.")
        whole = {} if self.heads else {"head": WHOLE}
        chosen: dict[str, Label | None] = {"control": control or MAIN, **whole, **labels}
        return self.outcome.of(metric, owner="PatchProfile", **chosen)

    def _headless(
        self, values: Float[Tensor, "pair depth position head"]
    ) -> Float[Tensor, "pair depth position"] | Float[Tensor, "pair depth position head"]:
        return values if self.heads else values[..., 0]

    @property
    def effects(
        self,
    ) -> Float[Tensor, "pair depth position"] | Float[Tensor, "pair depth position head"]:
        """Change of the main metric against the base run."""
        return self.of("effect")

    def efficacy(self, position: str, *, control: str | None = None) -> Float[Tensor, "pair depth"]:
        """Success at one position: the profile that `find_transition` and `find_crossing` take.

        Raises:
            ValueError: that position was not patched, heads were, or success was not read.
        """
        if self.heads:
            raise ValueError("PatchProfile: efficacy is of whole streams; heads were patched here.")
        return self.of("success", control=control, position=position)

    def moved(self, position: str) -> Float[Tensor, "pair depth"]:
        """Change of the main metric at one position, as a share of the runs' mean distance."""
        return self._headless(self.outcome.at(control=MAIN).moved())[:, :, self.index(position)]

    @property
    def control_success(self) -> Float[Tensor, "pair depth position"] | None:
        """Success with another pair's source; None where that was not run or not read."""
        if "shuffled_source" not in self.controls or "success" not in self.metrics or self.heads:
            return None
        return self.of("success", control="shuffled_source")

    def index(self, position: str) -> int:
        """Where a position stands.

        Raises:
            ValueError: that position was not patched.
        """
        return self.outcome.index("position", position, owner="PatchProfile")

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, depth, position and head, with a column for each metric."""
        axes = "pair depth position head" if self.heads else "pair depth position"
        columns: dict[str, tuple[str, Tensor]] = {
            f"{control}_{metric}": (axes, self.of(metric, control=control))
            for control in self.controls
            for metric in self.metrics
        }
        if self.exact_values is not None:
            columns["exact"] = axes, self._headless(self.exact_values)
        main = self.outcome.at(control=MAIN)
        shown = main if self.heads else main.at(head=WHOLE)
        return shown.to_frame(self.stream, self.n_layers, columns)

    def mean_frame(self) -> "pd.DataFrame":
        """One row a depth, position and head: mean effect over pairs with its 95 % interval."""
        main = self.outcome.at(control=MAIN)
        shown = main if self.heads else main.at(head=WHOLE)
        frame = shown.mean_frame(self.stream, self.n_layers, units=self.provenance.units)
        tokens = dict(zip(self.positions, self.labels, strict=True))
        frame.insert(frame.columns.get_loc("position") + 1, "token", frame.position.map(tokens))  # type: ignore[arg-type]
        return frame

    @property
    def is_curves(self) -> bool:
        """Whether there are few enough positions to show as curves: efficacy at one or two."""
        return not self.heads and "success" in self.metrics and len(self.positions) <= 2

    def at_ends(self, task: Task) -> "PatchProfile | None":
        """The curves at the input and the prediction position, out of a map that has both.

        Args:
            task: the one that was patched.
        Returns:
            None where these are no columns of the map, or it is not of whole streams with success.
        """
        if self.heads or "success" not in self.metrics:
            return None
        ends = {"input": "input", "prediction": "prediction"}
        if not {*ends} <= {*self.positions}:
            # Columns that are counted are the same token of both prompts of all pairs.
            places = {
                "input": (task.input_positions, task.corrupted_input_positions),
                "prediction": (task.prediction_positions, task.corrupted_prediction_positions),
            }
            for name, both in places.items():
                there = {int(at) for one in both if one is not None for at in one}
                ends[name] = str(*there) if len(there) == 1 else ""
        if not {*ends.values()} <= {*self.positions}:
            return None
        at = torch.tensor([self.index(name) for name in ends.values()])
        outcome = self.outcome
        return replace(
            self,
            labels=tuple(self.labels[i] for i in at),
            outcome=replace(
                outcome,
                coords={**outcome.coords, "position": tuple(ends)},
                values=outcome.values.index_select(outcome.dims.index("position"), at),
            ),
            exact_values=None if self.exact_values is None else self.exact_values[:, :, at],
        )

    def plot(self) -> "Figure":
        """Efficacy by depth with 95 % bands where one or two positions were patched, else a map."""
        if not self.is_curves:
            return self.heatmap()
        from lensdepth import plotting
        from lensdepth.patching.told import efficacy_curves
        from lensdepth.telling.names import stream_name, success_words

        return plotting.depth_figure(
            efficacy_curves(self),
            n_layers=self.n_layers,
            title=f"Patching one state: {stream_name(self.stream)}",
            y_title=success_words(self.provenance).unit,
            y_range=(-0.03, 1.03),
        )

    def heatmap(self, *, only: Mapping[str, str] | None = None) -> "Figure":
        """Mean effect by depth (up) and position or head (across), zero in the middle.

        Args:
            only: labels of the pairs to draw, such as those of one wording: `{"template":
                "after"}`. Where several wordings were patched at "all" tokens, columns stay those
                that they share; for the tokens of one, patch that one alone.
        Raises:
            ValueError: the task had no such label, or no pair has these values.
        """
        from lensdepth.patching.figures import effect_map

        return effect_map(self, only or {})
