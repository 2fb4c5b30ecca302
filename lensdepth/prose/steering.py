"""What was found about steering at the input and at the output."""

from lensdepth.arguments import checked
from lensdepth.prose.wording import counted, estimate, place
from lensdepth.steering import SteeringProfile
from lensdepth.transition import Crossing

FEW = 3
"""A centroid of fewer prompts is called rough."""


@checked
def steering_verdict(profile: SteeringProfile, crossing: Crossing | None) -> str:
    """One sentence: where steering passes from the input to the output, if it does."""
    if crossing is None:
        name = "output-centric" if profile.positions[0] == "prediction" else "input-centric"
        best = profile.efficacy(profile.positions[0])
        depth = int(best.mean(0).argmax())
        return (
            f"Steering is {name} alone here; it works best at depth {int(profile.depths[depth])}, "
            f"in {estimate(best[:, depth]).percent} of the pairs."
        )
    if crossing.verdict == "none":
        return f"The two steering curves do not cross: {crossing.reason}."
    if crossing.verdict == "cannot tell":
        return f"Whether the steering curves cross cannot be told: {crossing.reason}."
    where = place(crossing.depth, crossing.low, crossing.high, profile.n_layers)
    return f"Steering passes from input-centric to output-centric at {where}."


@checked
def steering_sentences(
    profile: SteeringProfile, crossing: Crossing | None, sustained: Crossing | None
) -> list[str]:
    """Where steering passes from one end to the other, by which part, and the controls."""
    said = [steering_verdict(profile, crossing)]
    parts, controls = [], []
    for name in profile.positions:
        depth = int(profile.efficacy(name).mean(0).argmax())

        def works(edit: str, name: str = name, depth: int = depth) -> str:
            return estimate(profile.efficacy(name, edit=edit)[:, depth]).percent

        parts.append(
            f"at the {name} position (depth {int(profile.depths[depth])}) the whole difference "
            f"works in {works('full')} of the pairs, its turn alone in {works('direction')}, its "
            f"change of norm alone in {works('norm')}"
        )
        control = f"a random vector of the same norm in {works('random')}"
        if "shuffled" in profile.edits:
            control += f", another pair's difference in {works('shuffled')}"
        controls.append(f"{control} ({name})")
    said.append(f"Where each works best: {'; '.join(parts)}.")
    said.append(f"Controls there: {'; '.join(controls)}.")
    if sustained is not None:
        if sustained.verdict == "crossing":
            where = place(sustained.depth, sustained.low, sustained.high, profile.n_layers)
            text = f"Sustained from each depth on, the curves cross at {where}."
        else:
            text = f"Sustained from each depth on, there is no clear crossing: {sustained.reason}."
        said.append(
            f"{text} Read it with care: what is added piles up, and output-centric steering from "
            f"an early depth on also acts at all late depths, where it works by itself."
        )
    fewest = profile.smallest_centroid
    text = (
        f"Centroids are taken over {counted(fewest, 'prompt')} or more each, never the steered "
        f"ones ({profile.n_folds} folds of prompts)."
    )
    if fewest < FEW:
        text += " So few prompts hold much that is not their label's: add prompts."
    said.append(text)
    return said
