"""What all results have whose numbers are those of edited runs."""

from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import Effects, Label
from lensdepth.storage import ModelResult


@checked
class SweepResult(ModelResult):
    """One that holds Effects: how it is asked, and what a transferred fraction is made of.

    Its axes are those of `outcome`; a result that shows fewer says so where it differs.
    """

    outcome: Effects

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was read off, the main metric first."""
        return self.outcome.metrics

    def of(self, metric: str | None = None, **labels: Label | None) -> Tensor:
        """Numbers at some labels, as `Effects.of` says it: `of("transferred", depth=3)`.

        Args:
            metric: one of `metrics`, the first by default; `"effect"`, its change against the base
                run; or `"transferred"`, `"target_gain"` or `"foil_loss"`.
            labels: by axis of `outcome`; None stands for an axis's first.
        Raises:
            ValueError: there is no such metric, axis or label.
        """
        return self.outcome.of(metric, owner=type(self).__name__, **labels)

    @property
    def transferred(self) -> Float[Tensor, "*run_pair_where"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        return self.of("transferred")

    @property
    def target_gain(self) -> Float[Tensor, "*run_pair_where"]:
        """The part of it by which the source's answer rose: what was brought along."""
        return self.of("target_gain")

    @property
    def foil_loss(self) -> Float[Tensor, "*run_pair_where"]:
        """The part by which the base's answer fell: what was erased."""
        return self.of("foil_loss")
