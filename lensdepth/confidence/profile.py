"""What a scaled norm and an equal turn do to a prediction, by factor, depth and pair."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.confidence.verdict import Judged, NormVerdict, Overall, judge, overall
from lensdepth.confidence.writes import NullWrites
from lensdepth.mistakes.profile import FEWEST
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.telling.curves import estimate
from lensdepth.telling.numbers import Interval, counted

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Edit = Literal["norm", "turn"]
EDITS: tuple[Edit, ...] = ("norm", "turn")
OF_NO_SOURCE = ("transferred", "source_entropy")
"""Columns of edited runs that say nothing here: no run gives a state, and there is no way to it."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ConfidenceProfile(SweepResult):
    """Outcome of scaled norms and of turns of equal length, in the clean runs' last states."""

    MADE_BY: ClassVar[str] = "confidence_response(model, task)"
    """The call that makes one."""
    SAMPLED: ClassVar[str] = "Turns"
    """What is run on some of the pairs only."""

    provenance: Provenance
    outcome: Effects
    """By edit (`norm`, and `turn`, its control), factor, pair and depth: `entropy` in nats; `flip`,
    1 where the first choice is not the unedited run's; `own_probability` of that one's first
    choice; `confidence`, the probability of the run's own first choice; `right`, 1 where that is
    the target."""
    twin: tuple[tuple[int, NormVerdict], ...]
    """By depth, the verdict in an untrained twin on its own answers; () where none was asked."""
    twin_note: str
    """Why there is no twin, where one was asked for."""
    null: NullWrites | None
    """What MLPs write where the unembedding hardly looks; None where logits come from no plain
    matrix."""

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return self.outcome.places("depth")

    @property
    def factors(self) -> tuple[float, ...]:
        """Of the norm; a turn goes by the factor that moves the state as far."""
        return tuple(float(factor) for factor in self.outcome.coords["factor"])

    def change(self, metric: str, edit: Edit = "norm") -> Float[Tensor, "factor pair depth"]:
        """Change of a metric against the unedited run; NaN where no turn was run."""
        return self.outcome.change(metric)[self.outcome.index("edit", edit)]

    @property
    def judged_depths(self) -> list[int]:
        """Those between 0 and L: at 0 there is the last token's embedding alone, and at L the final
        norm divides every factor out."""
        return [depth for depth in self.depths.tolist() if 0 < depth < self.n_layers]

    @cached_property
    def judged(self) -> dict[int, Judged]:
        """By depth what the norm decides there."""
        at = self.depths.tolist()

        def here(metric: str, edit: Edit, depth: int) -> Any:
            return self.change(metric, edit)[:, :, at.index(depth)].T.double().numpy()

        return {
            depth: judge(
                here("entropy", "norm", depth),
                here("entropy", "turn", depth),
                here("flip", "norm", depth),
                here("flip", "turn", depth),
                self.factors,
                units=self.provenance.units,
                n_prompts=len(set(self.provenance.prompts)),
                n_depths=len(self.judged_depths),
                floor=self.outcome.floor_of("entropy"),
            )
            for depth in self.judged_depths
        }

    @property
    def verdict(self) -> Overall:
        """What the norm decides, over all depths that are judged; see `lensdepth.confidence`."""
        return overall([*self.judged.values()])[0]

    @property
    def reason(self) -> str:
        """Why nothing can be told, if so."""
        return overall([*self.judged.values()])[1]

    def at(self, verdict: str) -> list[int]:
        """The depths that have this verdict."""
        return [depth for depth, one in self.judged.items() if one.verdict == verdict]

    @property
    def calibration_note(self) -> str:
        """Why calibration is not told, or nothing where it is."""
        answered = dict(
            zip(
                self.provenance.prompts,
                self.outcome.unedited("base", "right").tolist(),
                strict=True,
            )
        )
        n_right = int(sum(answered.values()))
        short = min(n_right, len(answered) - n_right)
        if short >= FEWEST:
            return ""
        which = "right" if n_right == short else "wrong"
        verb = "is" if short == 1 else "are"
        return (
            f"Calibration is not told: there {verb} {counted(short, 'prompt')} answered {which}, "
            f"and {FEWEST} of each kind are needed"
        )

    def brier(self, edit: Edit | None = None) -> Tensor:
        """Squared distance of a run's confidence from whether its first choice is right, by pair:
        0 is best. `[factor, pair, depth]`, of the unedited run `[pair]`.

        It tells how sure and how right the model is in one; where first choices stay, all of its
        change is confidence's.
        """
        return self._off(edit).square()

    def overconfidence(self, edit: Edit | None = None) -> Tensor:
        """Confidence less whether the first choice is right, likewise: its mean over pairs is how
        much surer the model is than it should be."""
        return self._off(edit)

    def calibration_at(self, depth: int) -> dict[str, Interval]:
        """What edits at one depth do to calibration, as intervals over units.

        `overconfidence` gained by a doubling of the norm (the slope as for entropy), and the change
        of the Brier score, mean over factors, by `norm` and by `turn`.
        """
        at, units = self.depths.tolist().index(depth), self.provenance.units
        logs = torch.tensor(self.factors, dtype=torch.float64).log()
        over = self.overconfidence("norm")[:, :, at] - self.overconfidence()
        found = {"overconfidence": math.log(2) * (logs @ over.double()) / (logs @ logs)}
        for edit in EDITS:
            found[edit] = (self.brier(edit)[:, :, at] - self.brier()).mean(0).double()
        return {name: estimate(values, units, share=False) for name, values in found.items()}

    def _off(self, edit: Edit | None) -> Tensor:
        if edit is None:
            confidence, right = (self.outcome.unedited("base", x) for x in ("confidence", "right"))
        else:
            confidence, right = (self.of(x, edit=edit) for x in ("confidence", "right"))
        return confidence - right

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, factor, depth and pair."""
        frame = self.outcome.to_frame("resid_pre", self.n_layers)
        return frame.drop(columns=[*OF_NO_SOURCE])

    def verdict_frame(self) -> "pd.DataFrame":
        """One row a depth that is judged: verdict, and the numbers that it rests on."""
        import pandas as pd

        rows = []
        for depth, one in self.judged.items():
            row: dict[str, object] = {"depth": depth, "relative_depth": depth / self.n_layers}
            row |= {"verdict": one.verdict, "reason": one.reason}
            for name in ("per_doubling", "moved", "lead", "flips", "flips_lead"):
                found = getattr(one, name)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Entropy, the first choice's probability and changed first choices, by depth; turns
        dashed."""
        from lensdepth.confidence.told import PANELS, measure_curves
        from lensdepth.plotting import Panel, depth_story

        panels = [
            Panel(title=title, curves=measure_curves(self, name)) for name, title in PANELS.items()
        ]
        title = "What does the norm decide?"
        return depth_story(panels, n_layers=self.n_layers, title=title)
