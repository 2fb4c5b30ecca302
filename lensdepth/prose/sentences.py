"""What each analysis found, in sentences made from its numbers and from nothing else."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.lens import LensProfile
from lensdepth.patching import PatchProfile
from lensdepth.prose.wording import Estimate, at_depth, estimate, place
from lensdepth.transition import Crossing, Transition


@checked
def lens_sentences(profile: LensProfile, transition: Transition | None) -> list[str]:
    """Where the lens reaches the final distribution, and how often its top token is final."""
    n_layers = profile.n_layers
    said = [lens_verdict(transition, n_layers)]
    agreement = profile.mean_by_depth(profile.top1_agreement)
    first = estimate(agreement[:, 0])
    majority = _first_at_least(agreement, 0.5)
    text = f"At the embedding the lens's most likely token is the final one for {first.percent}"
    if majority == 0:
        text += " of the prompts: so much follows from the last token alone."
    elif majority == n_layers:
        text += " of the prompts; at no depth before the last is it so for half of them."
    else:
        then = estimate(agreement[:, majority])
        text += (
            f" of the prompts; {at_depth(majority, n_layers)} is the first depth where it is for "
            f"half of them or more, {then.percent}."
        )
    said.append(text)
    return said


@checked
def lens_verdict(transition: Transition | None, n_layers: int) -> str:
    """One sentence: the transition of the lens, or that there is none, or no telling."""
    if transition is None:
        return (
            "No transition of the lens was sought: a curve through fewer than four depths, or one "
            "with infinite values, cannot show one."
        )
    if transition.verdict == "none":
        return f"The lens shows no transition: {transition.reason}."
    if transition.verdict == "cannot tell":
        return (
            f"Whether the lens has a transition cannot be told from these prompts: "
            f"{transition.reason}."
        )
    where = place(transition.location, transition.location_low, transition.location_high, n_layers)
    verb = "falls" if transition.change < 0 else "rises"
    width = Estimate(mean=transition.width, low=transition.width_low, high=transition.width_high)
    return (
        f"The divergence of the lens from the final distribution {verb} around {where}; "
        f"{_breadth(width)}"
    )


def _breadth(width: Estimate) -> str:
    if width.high <= 1:
        return "most of the change happens from one depth to the next, the sharpest one can see."
    return f"10 to 90% of the change takes {width} depths."


def _first_at_least(values: Float[Tensor, "unit depth"], level: float) -> int:
    """First depth whose mean over units reaches the level; the last one if none does."""
    reached = np.flatnonzero(values.nanmean(0).numpy() >= level)
    return int(reached[0]) if len(reached) else values.shape[1] - 1


@checked
def patch_sentences(profile: PatchProfile, crossing: Crossing | None) -> list[str]:
    """Whether and where control passes to the last token, both ends, and the control."""
    said = [] if crossing is None else [crossing_verdict(crossing, profile.n_layers)]
    first, last = int(profile.depths[0]), int(profile.depths[-1])
    ends = []
    for position in profile.positions:
        efficacy = profile.efficacy(position)
        early, late = (estimate(efficacy[:, i]).percent for i in (0, -1))
        ends.append(
            f"at the {position} position in {early} of the pairs at depth {first} and {late} at "
            f"depth {last}"
        )
    said.append(f"The source's state brings about the source's answer {'; '.join(ends)}.")
    if profile.control_success is None:
        said.append("There is no control with another pair's state: that takes two pairs.")
    else:
        mean = profile.control_success.nanmean(0)
        row, column = divmod(int(mean.argmax()), mean.shape[1])
        most = estimate(profile.control_success[:, row, column])
        said.append(
            f"Control: another pair's state brings it about in {most.percent} of the pairs at most "
            f"({profile.positions[column]} position, depth {profile.depths[row]})."
        )
    error = profile.self_patch_error
    said.append(
        "A run's own state, put back, changes "
        + (f"no logit by more than {error:.0e}." if error > 0 else "nothing.")
    )
    return said


@checked
def crossing_verdict(crossing: Crossing, n_layers: int) -> str:
    """One sentence: where control passes, or that the curves do not cross, or no telling."""
    if crossing.verdict == "none":
        return f"The two curves do not cross: {crossing.reason}."
    if crossing.verdict == "cannot tell":
        return f"Whether the two curves cross cannot be told from these pairs: {crossing.reason}."
    return (
        f"Control passes from the input position to the prediction position at "
        f"{place(crossing.depth, crossing.low, crossing.high, n_layers)}."
    )
