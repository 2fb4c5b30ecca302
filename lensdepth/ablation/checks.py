"""What the options of ablations may be, and what they need; said before anything runs."""

from collections.abc import Sequence
from typing import get_args

from lensdepth.ablation.parts import Reference
from lensdepth.coordinates import CoordinateName
from lensdepth.provenance import text_fingerprint
from lensdepth.sweep.spans import Span
from lensdepth.tasks.task import Task


def check_reference(reference: object, *, to: str, coordinates: str, caller: str) -> None:
    """Say what a reference set is, and what it is for.

    Raises:
        TypeError: it is no task.
        ValueError: no mean is taken over it.
    """
    if reference is not None and not isinstance(reference, Task):
        raise TypeError(
            f"{caller}: reference must be a Task, as load_task makes it, got "
            f"{type(reference).__name__}."
        )
    if reference is not None and to != "mean" and coordinates != "centred":
        also = "to='mean' or " if caller == "ablation_sweep" else ""
        raise ValueError(
            f"{caller}: reference goes with {also}coordinates='centred'; no mean is taken here, so "
            f"leave it out."
        )


def reference_settings(reference: Task) -> dict[str, str]:
    """What the provenance says of the prompts behind means."""
    prompts = [*reference.clean, *(reference.corrupted or ())]
    return {"name": reference.name, "prompts_fingerprint": text_fingerprint(prompts)}


def check_parts(to: str, coordinates: str, n_pairs: int, *, caller: str) -> None:
    """Say which words say what goes in and in which coordinates, and what they need.

    Raises:
        ValueError: an unknown word, or options that contradict each other or the task.
    """
    for value, kind, name in ((to, Reference, "to"), (coordinates, CoordinateName, "coordinates")):
        if value not in get_args(kind):
            raise ValueError(
                f"{caller}: {name} must be one of {', '.join(get_args(kind))}, got {value!r}."
            )
    if to in ("shuffled", "random") and n_pairs < 2:
        raise ValueError(
            f"{caller}: to={to!r} takes states or norms of other pairs, and there is 1 pair; add "
            f"pairs, or use to='source'."
        )
    if to == "mean" and coordinates == "centred":
        raise ValueError(
            f"{caller}: seen from their own mean, directions cancel and have no mean; use "
            f"to='mean' with raw or final_norm coordinates."
        )


def check_others(to: Reference, spans: Sequence[Span], caller: str) -> None:
    """Say where there is no other pair whose state could go in."""
    for span in spans:
        if to in ("shuffled", "random") and span.present.sum() < 2:
            raise ValueError(
                f"{caller}: to={to!r} takes states or norms of other pairs, and one pair alone has "
                f"the position {span.name!r}; leave that position out, or use to='source'."
            )
