"""What patching a set of components did: the result, its table and its figure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.circuit.answers import Answer, answer, share_of
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.telling.fractions import COMPARED, FRACTIONS
from lensdepth.telling.numbers import Interval

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Patched = Literal["circuit", "complement", "everything"]
SETS: tuple[Patched, ...] = get_args(Patched)
"""The set itself, all heads and MLPs but these, and all of them."""
ALSO: tuple[str, ...] = ("success", *ANSWERS)


def way_of(runs: Effects, metric: str) -> Float[Tensor, " pair"]:
    """How far the runs' source is from their base."""
    return runs.unedited("source", metric) - runs.unedited("base", metric)


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitResult(SweepResult):
    """What a set of components does: is it enough, and is it needed?

    Enough is a set that, given the source run's outputs, brings most of the change from the base
    run to the source run. Needed is one without which most of it is lost: in the source run it gets
    the base run's outputs back. Neither follows from the other: of two components that do the same,
    either is enough and none needed; of two that only work together, either is needed and none
    enough. What a pair does not have is NaN.
    """

    MADE_BY: ClassVar[str] = "patch_components(model, task, components)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    components: tuple[str, ...]
    """The set, as it was named."""
    n_heads: int
    """Heads in it, those of a whole attention included."""
    n_mlps: int
    n_components: int
    """Heads and MLPs of the model."""
    positions: tuple[str, ...]
    """Where they are patched, all in one run."""
    outcome: Effects
    """Patched into the base run, by set and pair: those of SETS, the set at the tokens alone that
    both prompts share (`shared`, where it is patched at others too), the random sets."""
    removed: Effects
    """Set back in the source run, which is the edited one here, likewise: the set (`circuit`), at
    shared tokens alone, the random sets. Its base is the source run, its source the base run."""
    random_components: tuple[tuple[str, ...], ...]
    """The control: as many heads and MLPs at the same tokens, drawn from the whole model."""
    all_drawn: bool
    """Whether these are fewer than were asked for, there being hardly any others."""
    self_patch_error: float
    """Largest change of any logit when the base run's own outputs are put back, in the first
    pairs; must be 0 up to rounding."""

    @property
    def base_values(self) -> Float[Tensor, " pair"]:
        """The main metric of the unedited base run; logit(target) - logit(foil) by default."""
        return self.outcome.base[0]

    @property
    def source_values(self) -> Float[Tensor, " pair"]:
        return self.outcome.source[0]

    @property
    def values(self) -> Float[Tensor, "set pair"]:
        """The edited runs, in the order of SETS."""
        return self.of()[: len(SETS)]

    @property
    def success(self) -> Float[Tensor, "set pair"]:
        """1 where the most likely token is the source run's answer."""
        return self.of("success")[: len(SETS)]

    @property
    def random_values(self) -> Float[Tensor, "draw pair"]:
        """The main metric with the random sets."""
        return self.of()[self._first_random :]

    @property
    def random_success(self) -> Float[Tensor, "draw pair"]:
        return self.of("success")[self._first_random :]

    @property
    def transferred(self) -> Float[Tensor, "set pair"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        return self.outcome.transferred()[: len(SETS)]

    @property
    def target_gain(self) -> Float[Tensor, "set pair"]:
        """The part of it by which the source's answer rose: what was brought along."""
        return self.outcome.target_gain[: len(SETS)]

    @property
    def foil_loss(self) -> Float[Tensor, "set pair"]:
        """The part by which the base's answer fell: what was erased."""
        return self.outcome.foil_loss[: len(SETS)]

    @property
    def random_transferred(self) -> Float[Tensor, "draw pair"]:
        """The same of the random sets."""
        return self.outcome.transferred()[self._first_random :]

    @property
    def fractions(self) -> tuple[str, ...]:
        """The transferred fraction, and what it is made of where that was read off."""
        return FRACTIONS if self.outcome.has_gains else FRACTIONS[:1]

    @property
    def lost(self) -> Float[Tensor, " pair"]:
        """Share of the main metric's change that the source run loses when the set gets the base
        run's outputs back: 0 none, 1 all of it."""
        return self.removed.transferred()[0]

    @property
    def n_random(self) -> int:
        return len(self.random_components)

    @property
    def _first_random(self) -> int:
        return len(self.outcome.coords["set"]) - self.n_random

    @property
    def patches_input(self) -> bool:
        """Whether the set is patched at tokens that differ between base and source."""
        return "shared" in self.outcome.coords["set"]

    @property
    def judged(self) -> str:
        """The metric that `enough` and `needed` go by: the logit of the source run's own answer
        (see `metrics.answer_logit`) where it was read beside the logit difference, so that an
        answer erased passes for none brought; else, and where that answer gains nothing from base
        to source run, the main metric."""
        main, own = self.outcome.metrics[0], ANSWERS[0 if self.mode == "denoise" else 1]
        if main != "logit_diff" or own not in self.outcome.metrics:
            return main
        return own if way_of(self.outcome, own).mean() > 0 else main

    @property
    def enough(self) -> Answer:
        """Whether the set brings most of the change, and more than random sets do."""
        return self._answer(self.outcome)

    @property
    def needed(self) -> Answer:
        """Whether most of the change is lost without the set, and more than without random sets."""
        return self._answer(self.removed)

    def _answer(self, runs: Effects) -> Answer:
        moved, names = runs.change(self.judged), runs.names("set")
        return answer(
            moved[0],
            moved[names.index("shared")] if self.patches_input else None,
            moved[len(names) - self.n_random :],
            way_of(runs, self.judged),
            self.provenance.units,
        )

    @property
    def random_p(self) -> float:
        """Share of sets that bring as much as the circuit, itself counted in; NaN without random
        ones."""
        return self.enough.p

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair and run: base, source, what was patched in, and what was set back.

        `patched` names the run; those of the source run end in "removed", `effect` is their change
        against it, and their `transferred` is what is left of 1, in parts as of the others.
        """
        import pandas as pd

        found = self.outcome
        unedited = replace(
            found,
            coords={"set": ("base", "source", *found.coords["set"])},
            values=torch.cat([torch.stack([found.base, found.source], 1), found.values], dim=1),
        )
        # Base and source of a pair stay what they are, whichever of them is edited.
        set_back = replace(self.removed, base=found.base, source=found.source)
        there, back = (one.to_frame("resid_pre", self.n_layers) for one in (unedited, set_back))
        main = found.metrics[0]
        back["effect"] = back[main] - back[f"source_{main}"]
        frame = pd.concat([there, back], ignore_index=True)
        named = frame["set"].str.extract(r"^(\D+?)(?: (\d+))?$")
        named.loc[len(there) :, 0] += " removed"
        frame.insert(0, "patched", named[0])
        frame.insert(1, "draw", pd.to_numeric(named[1]).astype("Int64"))
        return frame.drop(columns="set")

    def mean_frame(self) -> "pd.DataFrame":
        """One row a run, with mean and 95 % interval over units of each number.

        A random set's number is, for each pair, the mean over all draws. `brought` is the share of
        the way by which `enough` and `needed` are judged.
        """
        import pandas as pd

        frame = self.to_frame()
        wide = frame.groupby(["patched", "pair"], sort=False).mean(numeric_only=True)
        rows = []
        for name in frame["patched"].unique():
            row: dict[str, object] = {"patched": name}
            found: dict[str, Sequence[Any]] = {
                column: stats.mean_interval(
                    wide.loc[name, column].to_numpy(dtype=float), units=self.provenance.units
                )
                for column in (*self.outcome.metrics, *self.fractions)
            }
            brought = self.brought(str(name))
            found["brought"] = brought.value, brought.low, brought.high
            for column, ends in found.items():
                for end, value in zip(("", "_low", "_high"), ends, strict=True):
                    row[column + end] = float(value)
            rows.append(row)
        return pd.DataFrame(rows)

    def brought(self, run: str) -> Interval:
        """Share of the way from base to source run that runs of one name have gone, in `judged`.

        A quotient of means over pairs, since single pairs may have next to no way.

        Args:
            run: as in the column `patched` of `mean_frame`.
        """
        if run in ("base", "source"):
            at = float(run == "source")
            return Interval(value=at, low=at, high=at)
        runs = self.removed if run.endswith("removed") else self.outcome
        kind = run.removesuffix(" removed")
        mine = [name.partition(" ")[0] == kind for name in runs.names("set")]
        moved = runs.change(self.judged)[torch.tensor(mine)].mean(0)
        share = share_of(moved, way_of(runs, self.judged), self.provenance.units)
        if runs is self.outcome:
            return share
        return Interval(value=1 - share.value, low=1 - share.high, high=1 - share.low)

    def floor_of(self, column: str) -> float:
        """The size below which a number of `mean_frame` is rounding; 0 where none is known.

        The metrics themselves are levels and have none.
        """
        if column != "brought":
            level = column in self.outcome.metrics and column not in COMPARED
            return 0.0 if level else self.outcome.floor_of(column)
        way = abs(float(way_of(self.outcome, self.judged).mean()))
        return self.outcome.floor_of(self.judged) / way if way > 0 else 0.0

    def plot(self) -> "Figure":
        """Transferred fraction and success of each run as bars, with 95 % intervals."""
        from lensdepth.circuit.figures import circuit_bars

        return circuit_bars(self)
