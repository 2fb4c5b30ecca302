"""What an ablation sweep found, by edit, scope, position, depth and pair."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.ablation.parts import CONTROLS, Reference
from lensdepth.arguments import checked, say_arrays_go
from lensdepth.coordinates import CoordinateName
from lensdepth.outcome import ANSWERS, Effects, Label
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.units import FEWEST_UNITS, Units, count

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ALSO: tuple[str, ...] = ("kl", "flip", "success", *ANSWERS)
Effect = str
"""What a part's effect is measured by: `transferred`, the transferred fraction of the main metric,
`target_gain` and `foil_loss`, what it is made of; or a metric that was read: its change against the
base run, success as it is."""

AtEnd = Literal["always", "never", "sometimes"]

FIRST: dict[str, None] = {"scope": None, "position": None}
"""The labels of the first scope, at the first position."""
WEAK = 0.2
"""A norm edit that changes norms by a smaller share, in the median, is a weak test of norms."""
SMALLEST_WHOLE = 0.05
"""Shares of a full effect smaller than this part of the largest one are not given."""

OWNER = "AblationProfile"


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class AblationProfile(SweepResult):
    """Outcome of each edit by scope, position, depth and pair; what a pair lacks is NaN."""

    MADE_BY: ClassVar[str] = "ablation_sweep(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    to: Reference
    """What the parts were replaced by."""
    coordinates: CoordinateName
    """In which direction and norm were taken."""
    n_reference: int
    """Prompts of the reference set behind means; 0 where none was needed."""
    at_end: tuple[AtEnd, ...]
    """Whether each position holds the prompts' last token, from which the logits are read."""
    outcome: Effects
    """By edit (`full`, `direction`, `norm`, then their controls `random_full`, ...), scope (`local`
    edits one depth; `suffix`, `prefix` and `all` edit many in one run), pair, depth, position."""
    angle: Float[Tensor, "pair depth position"]
    """Radians between the base's state and what is put in: how far the direction edit turns."""
    norm_ratio: Float[Tensor, "pair depth position"]
    """Norm of what is put in over the base's: how much the norm edit scales."""
    self_patch_error: float

    @property
    def edits(self) -> tuple[str, ...]:
        """Edits, then their controls."""
        return self.outcome.names("edit")

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.outcome.names("scope")

    @property
    def positions(self) -> tuple[str, ...]:
        return self.outcome.names("position")

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return self.outcome.places("depth")

    @property
    def base_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.unedited("base", "logit_diff", owner=OWNER)

    @property
    def source_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.unedited("source", "logit_diff", owner=OWNER)

    @property
    def logit_diff(self) -> Float[Tensor, "edit scope pair depth position"]:
        return self.of("logit_diff")

    @property
    def kl(self) -> Float[Tensor, "edit scope pair depth position"]:
        """KL(base || edited) in nats."""
        return self.of("kl")

    @property
    def flip(self) -> Float[Tensor, "edit scope pair depth position"]:
        """1 where the edited run's most likely token is not the base run's."""
        return self.of("flip")

    @property
    def success(self) -> Float[Tensor, "edit scope pair depth position"]:
        """1 where the edited run's most likely token is the source run's answer."""
        return self.of("success")

    @property
    def controls(self) -> tuple[str, ...]:
        """Those of the edits that are controls."""
        return tuple(edit for edit in self.edits if edit in CONTROLS)

    def effect(self, name: Effect = "transferred", **labels: Label | None) -> Tensor:
        """An effect by its name, at some labels as for `of`; 0 where the edit does nothing.

        Raises:
            ValueError: there is no such effect, axis or label.
        """
        found = named_effect(self.outcome, name, owner=OWNER)
        return self.outcome.pick(found, owner=OWNER, **labels)

    def of(
        self,
        metric: str | None = None,
        values: Float[Tensor, "edit scope pair depth position"] | None = None,
        **labels: Label | None,
    ) -> Tensor:
        """Numbers at some labels, as `Effects.of` says it: `of("transferred", edit="norm")`.

        Args:
            metric: one of `metrics`, `"effect"` or `"transferred"`.
            values: until 0.3, an array behind an edit, `of("norm", profile.kl)`: its numbers in
                the first scope at the first position, or those named.
            labels: of `edit`, `scope`, `depth`, `position`; None stands for the first.
        Raises:
            ValueError: there is no such metric, axis or label.
        """
        if values is None:
            return self.outcome.of(metric, owner=OWNER, **labels)
        say_arrays_go(OWNER)
        return self.outcome.pick(values, owner=OWNER, **{"edit": metric, **FIRST, **labels})

    def _at(self, position: str | None) -> int:
        name = self.positions[0] if position is None else position
        return self.outcome.index("position", name, owner=OWNER)

    def identity_depth(
        self, *, scope: str | None = None, position: str | None = None
    ) -> int | None:
        """Depth L, where what an edit does there holds for every model and is no finding.

        At the last token the final norm divides the norm out, so that the norm edit changes
        nothing and the direction edit does all that the full one does; from a center other than
        the origin this is not so. At other tokens nothing is read at depth L, and no edit does
        anything. None where depth L was not edited or is no identity.

        Raises:
            ValueError: there is no such scope or position.
        """
        name = self.scopes[0] if scope is None else scope
        self.outcome.index("scope", name, owner=OWNER)
        # Up to L, or at every depth, the edit also acts at depths where the norm may matter.
        if self.n_layers not in self.depths.tolist() or name in ("prefix", "all"):
            return None
        normalization = self.provenance.model.normalization
        holds = holds_by_identity(self.at_end[self._at(position)], normalization, self.coordinates)
        return self.n_layers if holds else None

    def identity_error(self, *, scope: str | None = None, position: str | None = None) -> float:
        """Largest change of the main metric by the norm edit at the identity depth.

        How well the identity holds: a matter of rounding and of the norm's epsilon. NaN without
        one.
        """
        depth = self.identity_depth(scope=scope, position=position)
        if depth is None:
            return float("nan")
        at = self.depths.tolist().index(depth)
        moved = self.of("effect", edit="norm", scope=scope, position=position)
        return float(moved[:, at].abs().max())

    def judged(self, *, scope: str | None = None, position: str | None = None) -> list[int]:
        """Indices into `depths` that comparisons and summaries use: all but depth L.

        There the state is all that is read (or, at other tokens, not read at all), so that what an
        edit does is arithmetic, an identity or not.

        Raises:
            ValueError: there is no such scope or position.
        """
        self.outcome.index("scope", self.scopes[0] if scope is None else scope)
        self._at(position)
        return [i for i, depth in enumerate(self.depths.tolist()) if depth != self.n_layers]

    def sets_last_state(self, *, scope: str | None = None, position: str | None = None) -> bool:
        """Whether each run of a scope also puts in the state that the logits are read from.

        What the full and the direction edit do then follows by construction.
        """
        name = self.scopes[0] if scope is None else scope
        return name in ("suffix", "all") and self.at_end[self._at(position)] != "never"

    def one(
        self, edit: str, index: int, *, scope: str | None = None, position: str | None = None
    ) -> Effects:
        """What one edit did at one depth, by its index into `depths`, by pair."""
        return self.outcome.at(
            edit=edit,
            scope=self.scopes[0] if scope is None else scope,
            position=self.positions[0] if position is None else position,
            depth=self.outcome.coords["depth"][index],
        )

    def compare_parts(
        self,
        effect: Effect = "transferred",
        *,
        scope: str | None = None,
        position: str | None = None,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Direction against norm by depth, with 95 % intervals over units.

        Quantities: the mean effect of `full`, `direction`, `norm` and each control; the paired
        `difference` direction - norm; `direction_over_control` and `norm_over_control`, paired;
        `direction_share` and `norm_share`, the part of the mean full effect that each carries
        (NaN where the whole state moves next to nothing); and the `interaction`
        full - direction - norm, what only both together do. Of transferred fractions also
        `full_of_means` and so on: the mean change over the mean difference of the two runs, which
        pairs whose runs hardly differ cannot rule as they rule a mean of fractions.

        Returns:
            One row a depth and quantity: depth, relative_depth, quantity, value, low, high, and
            `identity`, true where the model could not have answered otherwise.
        """
        import pandas as pd

        here = {"scope": scope, "position": position}
        moved = self.effect(effect)
        by_edit = {
            edit: self.outcome.pick(moved, owner=OWNER, edit=edit, **here).double().numpy()
            for edit in self.edits
        }
        quantities = dict(by_edit)
        quantities["difference"] = by_edit["direction"] - by_edit["norm"]
        for part in ("direction", "norm"):
            if f"random_{part}" in by_edit:
                control = by_edit[f"random_{part}"]
                quantities[f"{part}_over_control"] = by_edit[part] - control
        quantities["interaction"] = by_edit["full"] - by_edit["direction"] - by_edit["norm"]
        rows = {
            name: stats.mean_interval(values, units=self.provenance.units)
            for name, values in quantities.items()
        }
        # Fractions of small differences between the two runs would rule a mean of fractions:
        # shares are of the change itself, towards the source.
        way = self.outcome.source[0] - self.outcome.base[0]
        towards = rearrange(way.sign(), "pair -> pair 1 1")
        changes = self.outcome.change() * towards if effect == "transferred" else moved
        parts = {
            part: self.outcome.pick(changes, owner=OWNER, edit=part, **here).double().numpy()
            for part in ("full", "direction", "norm")
        }
        for part in ("direction", "norm"):
            rows[f"{part}_share"] = share_of_means(
                parts[part], parts["full"], n_resamples, seed, self.provenance.units
            )
        if effect == "transferred":
            whole = np.broadcast_to(way.abs().double().numpy()[:, None], parts["full"].shape)
            rows |= {
                f"{part}_of_means": share_of_means(
                    values, whole, n_resamples, seed, self.provenance.units
                )
                for part, values in parts.items()
            }
        identity = self.identity_depth(scope=scope, position=position)
        depths = self.depths.numpy()
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "depth": depths,
                        "relative_depth": depths / self.n_layers,
                        "quantity": name,
                        "value": value,
                        "low": low,
                        "high": high,
                        "identity": depths == identity,
                    }
                )
                for name, (value, low, high) in rows.items()
            ],
            ignore_index=True,
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, scope, position, depth and pair."""
        axes = "pair depth position"
        return self.outcome.to_frame(
            "resid_pre",
            self.n_layers,
            {"angle": (axes, self.angle), "norm_ratio": (axes, self.norm_ratio)},
        )

    def plot(
        self,
        effect: Effect = "transferred",
        *,
        scope: str | None = None,
        position: str | None = None,
    ) -> "Figure":
        """An effect by depth for each edit with 95 % bands, controls dashed."""
        from lensdepth.ablation.figures import parts_figure

        return parts_figure(self, effect, scope=scope, position=position)

    def plot_made_of(self, *, scope: str | None = None, position: str | None = None) -> "Figure":
        """What the transferred fraction is made of: target gain, foil loss, and success."""
        from lensdepth.ablation.figures import made_of_figure

        return made_of_figure(self, scope=scope, position=position)


def holds_by_identity(at_end: AtEnd, normalization: str, coordinates: CoordinateName) -> bool:
    """Whether what an edit does at depth L follows from the readout, whatever the model is."""
    if at_end == "never":
        return True
    return at_end == "always" and normalization != "none" and coordinates != "centred"


def named_effect(
    outcome: Effects, name: Effect, *, owner: str = "Effects"
) -> Float[Tensor, "*run_pair_where"]:
    """An effect by its name, as `Effects.effect` gives it."""
    return outcome.effect(name, owner=owner)


def share_of_means(
    part: Float[Array, "pair depth"],
    whole: Float[Array, "pair depth"],
    n_resamples: int,
    seed: int,
    units: Units,
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """Mean of a part over mean of the whole by depth, with its interval: (share, low, high).

    NaN where the whole is next to nothing beside its largest, or units are too few.
    """
    means = [stats.mean_interval(x)[0] for x in (part, whole)]
    usable = np.abs(means[1]) >= SMALLEST_WHOLE * np.nanmax(np.abs(means[1]), initial=1e-12)

    def ratio(top: Array, bottom: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(usable & (bottom != 0), top / bottom, np.nan)

    value = ratio(*means)
    if count(units, len(part)) < FEWEST_UNITS:
        unknown = np.full(value.shape, np.nan)
        return value, unknown, unknown
    drawn = stats.drawn_means(part, whole, units=units, n_resamples=n_resamples, seed=seed)
    return value, *stats.percentile_interval(ratio(*drawn))
