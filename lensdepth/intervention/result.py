"""What one intervention did: distributions, effects, and where the later states went."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics
from lensdepth.arguments import checked
from lensdepth.edits import CONTROL
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.telling.depths import depth_columns
from lensdepth.telling.numbers import Interval

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Intervention(ModelResult):
    """One edit of one prompt, in every scope beside its random control."""

    MADE_BY: ClassVar[str] = "intervene(model, base, source, depth=d)"
    """The call that makes one."""

    provenance: Provenance
    stream: str
    edit: str
    strength: float
    """In the unit that `lensdepth.EDITS` gives for the edit."""
    depth: int
    """The depth that is edited locally; a block number at other streams than `resid_pre`."""
    window: tuple[int, ...]
    """First and last depth of the window."""
    positions: tuple[int, ...]
    """Edited tokens of the base prompt."""
    tokens: tuple[str, ...]
    """What stands there."""
    head: int | None
    reads_edit: tuple[str, ...]
    """Scopes that put a source's or mean's state, or its direction, at depth L of the last token,
    from which the logits are read: what they predict follows by construction."""
    runs: tuple[str, ...]
    """`base`, `source` where there is one, the scopes, and `<scope> control` for their controls."""
    edited: tuple[tuple[int, ...], ...]
    """The depths that each run edits."""
    target: int | None
    """Token of the source's answer; None without a source and without answers."""
    foil: int
    """Token of the base's answer."""
    log_probs: Float[Tensor, "run d_vocab"]
    """Next-token log-probabilities in nats."""
    logit_diffs: Float[Tensor, " run"]
    """logit(target) - logit(foil), in nats; NaN where they are one token or there is no target."""
    angle_from_base: Float[Tensor, "run depth"]
    """Radians between a run's last state and the base run's, by residual depth."""
    angle_to_source: Float[Tensor, "run depth"]
    """Radians to the source run's; NaN without a source."""
    norm: Float[Tensor, "run depth"]
    """Norm of the last state."""
    vocabulary: dict[str, str]
    """Text of the tokens that are among the most likely of any run, or answers."""

    floor: dict[str, float] = field(default_factory=dict)
    """How far `logit_diff`, the answers' logits and `kl` move, by rounding, in runs that change
    nothing: smaller effects are none. Empty in results of earlier versions."""
    given_by: str = "source"
    """Whose states went in: the source prompt's run, or "base", the base's own."""
    source_depth: int | None = None
    """The depth (or block) that the state came from; None where that is the depth it went to."""
    source_positions: tuple[int, ...] = ()
    """The giving prompt's tokens whose states went to `positions`; empty where none did, and in
    results of earlier versions."""

    @property
    def crosses_depths(self) -> bool:
        """Whether a state went to another depth than its own, where no block reads such a one."""
        return self.source_depth not in (None, self.depth)

    @property
    def floors(self) -> dict[str, float]:
        """The size below which an effect is rounding, by its column in `to_frame`."""
        way = float("nan")
        if "source" in self.runs:
            way = abs(float(self.logit_diffs[self.index("source")] - self.logit_diffs[0]))
        parts = {"transferred": "logit_diff", "target_gain": "target_logit"}
        parts |= {"foil_loss": "foil_logit"}
        found = {"effect": self.floor.get("logit_diff", 0.0), "kl": self.floor.get("kl", 0.0)}
        if way > 0:
            found |= {name: self.floor.get(of, 0.0) / way for name, of in parts.items()}
        return found

    def number(self, run: str, effect: str) -> Interval:
        """One of the effects of a run, one of `floors`, as it is shown."""
        value = float(getattr(self, effect)[self.index(run)])
        none = float("nan")
        return Interval(value=value, low=none, high=none, floor=self.floors.get(effect, 0.0))

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that were run."""
        runs = (run for run in self.runs if run not in ("base", "source"))
        return tuple(run for run in runs if not run.endswith(CONTROL))

    def index(self, run: str) -> int:
        """Where a run stands.

        Raises:
            ValueError: there is none of that name.
        """
        if run not in self.runs:
            raise ValueError(
                f"Intervention: there is no run {run!r}; there are {', '.join(self.runs)}."
            )
        return self.runs.index(run)

    def text(self, token: int) -> str:
        """A token among the likeliest ones or the answers as text.

        Raises:
            ValueError: it is not among them.
        """
        if str(token) not in self.vocabulary:
            raise ValueError(
                f"Intervention: token {token} is neither an answer nor among the likeliest ones; "
                f"the text of {len(self.vocabulary)} others is kept."
            )
        return self.vocabulary[str(token)]

    def top(self, run: str, k: int = 5) -> list[tuple[str, float]]:
        """The most likely next tokens of a run with their probabilities, best first."""
        values, tokens = self.log_probs[self.index(run)].topk(min(k, self.log_probs.shape[1]))
        return [
            (self.text(t), p) for t, p in zip(tokens.tolist(), values.exp().tolist(), strict=True)
        ]

    @property
    def kl(self) -> Float[Tensor, " run"]:
        """KL(base || run) in nats: how much of the base's prediction is gone."""
        return metrics.kl_divergence(self.log_probs[0].expand_as(self.log_probs), self.log_probs)

    @property
    def effect(self) -> Float[Tensor, " run"]:
        """Change of logit(target) - logit(foil) against the base run, in nats."""
        return self.logit_diffs - self.logit_diffs[0]

    @property
    def transferred(self) -> Float[Tensor, " run"]:
        """Transferred fraction of the logit difference: 0 at the base run, 1 at the source run."""
        if "source" not in self.runs:
            return torch.full_like(self.logit_diffs, torch.nan)
        source = self.logit_diffs[self.index("source")]
        return metrics.transferred_fraction(
            self.logit_diffs[:, None], self.logit_diffs[:1], source[None]
        )[:, 0]

    @property
    def target_gain(self) -> Float[Tensor, " run"]:
        """The part of the transferred fraction by which the source's answer rose."""
        return self._part(self.target, self.foil, 1.0)

    @property
    def foil_loss(self) -> Float[Tensor, " run"]:
        """The part by which the base's answer fell: erased, whatever came in its place."""
        return self._part(self.foil, self.target, -1.0)

    def _part(self, answer: int | None, other: int | None, sign: float) -> Float[Tensor, " run"]:
        if "source" not in self.runs or answer is None or other is None or answer == other:
            return torch.full_like(self.logit_diffs, torch.nan)
        tokens = (torch.full((len(self.runs),), token) for token in (answer, other))
        # Log-probabilities are logits but for a shift, which falls out.
        ahead = metrics.answer_logit(self.log_probs, *tokens)
        way = self.logit_diffs[self.index("source")] - self.logit_diffs[:1]
        return metrics.share_of_way(sign * (ahead - ahead[0])[:, None], way)[:, 0]

    @property
    def success(self) -> Float[Tensor, " run"]:
        """1 where the most likely token is the source's answer; NaN where there is none."""
        if self.target is None:
            return torch.full_like(self.logit_diffs, torch.nan)
        return (self.log_probs.argmax(-1) == self.target).float()

    @property
    def flip(self) -> Float[Tensor, " run"]:
        """1 where the most likely token is not the base run's."""
        top = self.log_probs.argmax(-1)
        return (top != top[0]).float()

    @property
    def angle_progress(self) -> Float[Tensor, "run depth"]:
        """1 - angle to source / angle between base and source: 0 at the base, 1 at the source."""
        between = self.angle_to_source[0]
        return torch.where(between > 1e-4, 1 - self.angle_to_source / between, torch.nan)

    def to_frame(self) -> "pd.DataFrame":
        """One row a run: what it says next, and its effects."""
        import pandas as pd

        answers = {"target": self.target, "foil": self.foil}
        probs = {
            f"p_{name}": [float("nan")] * len(self.runs)
            if token is None
            else self.log_probs[:, token].exp().tolist()
            for name, token in answers.items()
        }
        tops = [self.top(run, 1)[0] for run in self.runs]
        return pd.DataFrame(
            {
                "run": list(self.runs),
                "top1": [text for text, _ in tops],
                "p_top1": [p for _, p in tops],
                **probs,
                "logit_diff": self.logit_diffs.tolist(),
                "effect": self.effect.tolist(),
                "transferred": self.transferred.tolist(),
                "target_gain": self.target_gain.tolist(),
                "foil_loss": self.foil_loss.tolist(),
                "success": self.success.tolist(),
                "kl": self.kl.tolist(),
                "flip": self.flip.tolist(),
            }
        )

    def trajectory_frame(self) -> "pd.DataFrame":
        """One row a run and residual depth: angles in radians and norms of the last state."""
        import pandas as pd

        n_depths = self.norm.shape[1]
        return pd.DataFrame(
            {
                "run": [run for run in self.runs for _ in range(n_depths)],
                **depth_columns(list(range(n_depths)) * len(self.runs), self.n_layers),
                **{
                    name: getattr(self, name).flatten().tolist()
                    for name in ("angle_from_base", "angle_to_source", "angle_progress", "norm")
                },
            }
        )

    def plot(self, *, scope: str | None = None) -> "Figure":
        """The trajectory of the last state by depth: angles from base and to source, norm.

        Args:
            scope: the one whose random control is drawn; None draws none.
        """
        from lensdepth.intervention.figures import trajectory

        return trajectory(self, scope)

    def plot_predictions(self, k: int = 5) -> "Figure":
        """Probabilities of the likeliest next tokens in every run, side by side."""
        from lensdepth.intervention.figures import predictions

        return predictions(self, k)
