"""What a report is made of."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from lensdepth.ablation.decoded import DecodingProfile
from lensdepth.ablation.dose_profile import DoseProfile
from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.result import ClaimTable
from lensdepth.confidence.profile import ConfidenceProfile
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.landmarks.profile import Landmarks
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.told import lens_name
from lensdepth.locality.choice_profile import DepthChoice
from lensdepth.locality.profile import LocalityProfile
from lensdepth.mistakes.profile import MistakeProfile
from lensdepth.patching.profile import PatchProfile
from lensdepth.report.comparison import ReportComparison
from lensdepth.steering.profile import SteeringProfile
from lensdepth.subspaces.profile import SubspaceProfile
from lensdepth.tasks.task import Task
from lensdepth.transition.change_point import ChangePoint
from lensdepth.transition.commitment import Commitment
from lensdepth.transition.compare import Located, OrderComparison, compare_order
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.result import Transition

Section = Literal[
    "lens", "patch", "steering", "locality", "ablation", "dose", "decoding", "geometry", "claims",
    "subspaces", "confidence", "landmarks", "choice",
]  # fmt: skip
SECTIONS: tuple[Section, ...] = get_args(Section)
"""What takes its time, in order."""
ON_REQUEST: tuple[Section, ...] = ("subspaces", "confidence", "landmarks", "choice")
"""Those that a page has only where they were asked for by name."""
USUAL: tuple[Section, ...] = tuple(name for name in SECTIONS if name not in ON_REQUEST)
ALWAYS = ("lens", "patch")
"""What every report has: the others are at the depths that patching finds."""
QUICK: tuple[Section, ...] = ("lens", "patch", "ablation")
"""Where the prediction is formed, where control passes, and which part of the state it is."""
MAY_REFUSE = ("steering", "locality", "decoding", *ON_REQUEST)
"""Sections that may refuse some prompts, which is then what the page says."""
PENDING = "it is still being measured; this page is replaced when more is there"
STOPPED = "the report was stopped before this was measured"
UNASKED = "it was not asked for"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """The results that a report is made of; what could not be measured is None, with a reason."""

    task: Task
    lens: LensProfile
    tokens: LensProfile
    """The lens of the first prompt at every token, or at the last so many."""
    transition: Transition | None
    patch: PatchProfile | None
    crossing: Crossing | None
    steering: SteeringProfile | None
    steering_crossing: Crossing | None
    """Of steering at one depth by the whole difference."""
    sustained_crossing: Crossing | None
    """Of the same from each depth on."""
    commitment: Commitment | None
    """Where the lens's first choice is settled."""
    change_point: ChangePoint | None
    """Of the lens, by what its switch is looked for in, and the patching curves, cut together."""
    locality: LocalityProfile | None
    """Attention of single blocks and of all, at the prediction position."""
    ablation: AblationProfile | None
    dose: DoseProfile | None
    decoding: DecodingProfile | None
    geometry: GeometryProfile | None
    claims: ClaimTable | None
    """The study's claims, with verdicts."""
    mistakes: MistakeProfile | None = None
    """Right against wrong answers, where there are enough of both kinds."""
    subspaces: SubspaceProfile | None = None
    confidence: ConfidenceProfile | None = None
    landmarks: Landmarks | None = None
    choice: DepthChoice | None = None
    """Of blocks' attention, which together move the prediction most."""
    tuned: LensProfile | None = None
    """The same prompts by a lens with maps in front of the readout, where one was given."""
    tuned_transition: Transition | None = None
    comparison: ReportComparison | None = None
    """With another report, where one was asked for."""
    seed: int
    absent: dict[str, str]
    """Analysis -> why there is no result."""
    seconds: dict[str, float]
    """Analysis -> wall time."""
    runs: int | None = None
    """Edited runs of all of them, base runs among them; None where they were not counted."""

    @property
    def n_layers(self) -> int:
        return self.lens.n_layers

    @property
    def order(self) -> OrderComparison | None:
        """Whether control passes before the lens switches, pair by pair; None without both."""
        control, lens = self.crossing, self.transition
        if control is None or lens is None or control.n_pairs != lens.n_pairs:
            return None
        if control.verdict != "crossing" or lens.verdict not in ("transition", "rise"):
            return None
        return compare_order(control, lens)

    @property
    def switches(self) -> dict[str, Located]:
        """Everything that was looked for along the depth, by what it is."""
        named: dict[str, Located | None] = {"logit lens, sigmoid": self.transition}
        if self.tuned is not None:
            named[f"{lens_name(self.tuned.provenance)}, sigmoid"] = self.tuned_transition
        named |= {
            "logit lens, first choice settled": self.commitment,
            "patching, crossing": self.crossing,
            "steering, crossing": self.steering_crossing,
            "steering sustained, crossing": self.sustained_crossing,
            "lens and patching, one cut": self.change_point,
        }
        return {name: found for name, found in named.items() if found is not None}


RESULTS = tuple(
    one.name
    for one in fields(Measured)
    if one.name not in ("task", "seed", "absent", "seconds", "runs")
)
"""The fields of `Measured` that hold a result, or None."""
