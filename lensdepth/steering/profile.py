"""What a steering sweep found, by edit, scope, position, depth and pair."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked, say_arrays_go
from lensdepth.outcome import ANSWERS, Effects, Label
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.telling.fractions import FRACTIONS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ALSO: tuple[str, ...] = ("success", "answer_probability", "kl_to_source", "flip", *ANSWERS)

OWNER = "SteeringProfile"


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringProfile(SweepResult):
    """Outcome of adding a difference of centroids, or a part of it, to the base run."""

    MADE_BY: ClassVar[str] = "steering_sweep(model, task)"
    SAMPLED: ClassVar[str] = "The turn, the change of norm and the controls"
    """What was run on some of the pairs only, where not all was run on all."""
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    outcome: Effects
    """By edit, scope (`local`: one depth; `suffix`: sustained, at every depth from there on), pair,
    depth and position (`input`: input-centric steering; `prediction`: output-centric).

    `full` adds the vector; `direction` turns the state as that would, its norm kept; `norm`
    stretches it as that would, its direction kept. Controls, added whole, at the vector's norm:
    `random`, a random direction, and `shuffled`, the vector of another pair, which leads to
    another label (NaN where all pairs lead to the same)."""
    labels: tuple[tuple[str, ...], ...]
    """The labels at each position."""
    base_label: Int[Tensor, "position pair"]
    """Which of these labels each base prompt has; steering leads away from it."""
    source_label: Int[Tensor, "position pair"]
    """The label that steering leads to."""
    folds: Int[Tensor, "end pair"]
    """Folds of each pair's base and source prompt; its centroids are of prompts in other folds."""
    centroid_sizes: Int[Tensor, "position end pair"]
    """Prompts behind the base label's and the source label's centroid."""
    strength: float
    budget: float | None
    vector_norm: Float[Tensor, "pair depth position"]
    """Norm of what is added at one depth, local scope; 0 where the centroids coincide."""
    state_norm: Float[Tensor, "depth position"]
    """Mean norm of the states there."""

    @property
    def edits(self) -> tuple[str, ...]:
        return self.outcome.names("edit")

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.outcome.names("scope")

    @property
    def positions(self) -> tuple[str, ...]:
        return self.outcome.names("position")

    @property
    def stream(self) -> str:
        """What is steered."""
        return "resid_pre"

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return self.outcome.places("depth")

    def base(self, metric: str) -> Float[Tensor, " pair"]:
        """A metric of the unsteered base run: where steering starts from."""
        return self.outcome.unedited("base", metric, owner=OWNER)

    def source(self, metric: str) -> Float[Tensor, " pair"]:
        """The same of the source run, the genuinely changed prompt."""
        return self.outcome.unedited("source", metric, owner=OWNER)

    @property
    def base_success(self) -> Float[Tensor, " pair"]:
        """1 where the unsteered base run already gives the intended answer, the source run's."""
        return self.base("success")

    @property
    def base_prob(self) -> Float[Tensor, " pair"]:
        """Probability of the intended answer in the unsteered base run."""
        return self.base("answer_probability")

    @property
    def source_prob(self) -> Float[Tensor, " pair"]:
        """The same in the source run."""
        return self.source("answer_probability")

    @property
    def base_kl_to_source(self) -> Float[Tensor, " pair"]:
        """KL(source || base) in nats: 0 is where it should get."""
        return self.base("kl_to_source")

    @property
    def base_logit_diff(self) -> Float[Tensor, " pair"]:
        """Logit difference of the unsteered base run, in nats."""
        return self.base("logit_diff")

    @property
    def source_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.source("logit_diff")

    @property
    def success(self) -> Float[Tensor, "edit scope pair depth position"]:
        """1 where the steered run's most likely token is the intended answer."""
        return self.of("success")

    @property
    def prob(self) -> Float[Tensor, "edit scope pair depth position"]:
        """Probability of the intended answer."""
        return self.of("answer_probability")

    @property
    def kl_to_source(self) -> Float[Tensor, "edit scope pair depth position"]:
        """KL(source || steered) in nats."""
        return self.of("kl_to_source")

    @property
    def logit_diff(self) -> Float[Tensor, "edit scope pair depth position"]:
        return self.of("logit_diff")

    @property
    def flip(self) -> Float[Tensor, "edit scope pair depth position"]:
        """1 where the most likely token is not the base run's."""
        return self.of("flip")

    @property
    def fractions(self) -> tuple[str, ...]:
        """What `of` has besides the metrics: the transferred fraction of the logit difference, and
        its parts, the source's answer gained and the base's lost; none where they were not read."""
        return FRACTIONS if self.outcome.has_gains else ()

    @property
    def n_folds(self) -> int:
        """Parts that the prompts were split into, balanced in labels."""
        return int(self.folds.max()) + 1

    @property
    def smallest_centroid(self) -> int:
        """Fewest prompts behind any centroid that was used."""
        return int(self.centroid_sizes.min())

    def of(
        self,
        metric: str | Float[Tensor, "edit scope pair depth position"] | None = None,
        position: Label | None = "all",
        **labels: Label | None,
    ) -> Tensor:
        """Numbers at some labels, as `Effects.of` says it: `of("success", position="input")`.

        Args:
            metric: one of `metrics`, `"effect"` or `"transferred"`; until 0.3 also an array,
                `of(profile.prob, "input")`: its numbers of the whole difference in the first
                scope, or those named.
            position: one of `positions`, None for the first; `"all"` leaves their axis.
            labels: of `edit`, `scope`, `depth`; None stands for the first.
        Raises:
            ValueError: there is no such metric, axis or label.
        """
        chosen = labels if position == "all" else {**labels, "position": position}
        if not isinstance(metric, Tensor):
            return self.outcome.of(metric, owner=OWNER, **chosen)
        say_arrays_go(OWNER)
        return self.outcome.pick(metric, owner=OWNER, **{"edit": "full", "scope": None, **chosen})

    def efficacy(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]:
        """Success at one position: the profile that `find_transition` and `find_crossing` take."""
        return self.of("success", edit=edit, scope=scope, position=position)

    def moved(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]:
        """Change of the main metric there, as a share of the mean distance of the runs."""
        at = {"edit": edit, "scope": scope, "position": position}
        return self.outcome.pick(self.outcome.moved(), owner=OWNER, **at)

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, scope, position, depth and pair."""
        frame = self.outcome.to_frame(
            "resid_pre",
            self.n_layers,
            {
                "base_fold": ("pair", self.folds[0]),
                "source_fold": ("pair", self.folds[1]),
                "base_label": ("position pair", self.base_label),
                "source_label": ("position pair", self.source_label),
                "vector_norm": ("pair depth position", self.vector_norm),
                **{f"base_{name}": ("pair", self.base(name)) for name in self.outcome.metrics[1:]},
            },
        )
        names = dict(zip(self.positions, self.labels, strict=True))
        for end in ("base_label", "source_label"):
            both = zip(frame["position"], frame[end], strict=True)
            frame[end] = [names[position][number] for position, number in both]
        return frame

    def plot(self, *, edit: str = "full", scope: str | None = None) -> "Figure":
        """Efficacy by depth at each position with 95 % bands, and the random vector's, dashed."""
        from lensdepth.steering.figures import efficacy_figure

        return efficacy_figure(self, edit=edit, scope=scope)
