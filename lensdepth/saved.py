"""Open any saved result: the file knows of which class it is."""

from importlib import import_module
from pathlib import Path
from typing import Any

from lensdepth.analyses import ANALYSES
from lensdepth.arguments import checked
from lensdepth.outside import shown
from lensdepth.storage import saved_kind

OTHERS = (
    "lensdepth.circuit.patterns:AttentionPatterns",
    "lensdepth.claims.experiment:HypothesisTable",
    "lensdepth.claims.places:DepthComparison",
    "lensdepth.claims.readiness:Readiness",
    "lensdepth.intervention.result:Intervention",
    "lensdepth.landmarks.across:LandmarkComparison",
    "lensdepth.lens.compare:LensComparison",
    "lensdepth.lens.tuned:TunedLens",
    "lensdepth.locality.shapley:ShapleyProfile",
    "lensdepth.locality.trajectory_profile:TrajectoryProfile",
    "lensdepth.locality.transfer:TransferProfile",
    "lensdepth.patching.windows:WindowProfile",
    "lensdepth.report.comparison:ReportComparison",
    "lensdepth.report.plan:ReportPlan",
    "lensdepth.residual:ResidualStream",
    "lensdepth.steering.vector:SteeringVector",
    "lensdepth.transition.change_point:ChangePoint",
    "lensdepth.transition.commitment:Commitment",
    "lensdepth.transition.compare:OrderComparison",
    "lensdepth.transition.compare:WidthComparison",
    "lensdepth.transition.crossing_result:Crossing",
    "lensdepth.transition.result:Transition",
    "lensdepth.until:LocatedCrossing",
)
"""Results that are of no analysis in the table, or of one beside its own."""

RESULTS = {place.partition(":")[2]: place for place in (*(one.result for one in ANALYSES), *OTHERS)}
"""Class of a result -> where it is defined."""


@checked
def load(path: str | Path) -> Any:
    """A result that `save` wrote, whatever its class.

    Args:
        path: of a `.safetensors` file of lensdepth.
    Returns:
        The result, as its own class's `load` gives it.
    Raises:
        FileNotFoundError, OSError: there is no such file, or it cannot be read.
        ValueError: it is no saved result, is damaged, or is of a kind or a version that is not
            known here.
    Example:
        >>> load("patch.safetensors").plot()
    """
    kind = saved_kind(path, caller="load")
    if kind not in RESULTS:
        raise ValueError(
            f"load: {shown(str(path))} holds {shown(kind)}, which is no result that lensdepth "
            f"knows; there are {', '.join(sorted(RESULTS))}."
        )
    module, name = RESULTS[kind].split(":")
    return getattr(import_module(module), name).load(path)
