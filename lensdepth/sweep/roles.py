"""Base and source: who is edited and who gives, in every pair of a task.

Denoising edits the corrupted run with states from the clean one, and the intended answer is the
target; noising edits the clean run with states from the corrupted one, and it is the foil.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Int
from torch import Tensor

from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

Mode = Literal["denoise", "noise"]
MODES: tuple[Mode, ...] = ("denoise", "noise")
PositionName = Literal["input", "prediction"]
POSITION_NAMES: tuple[PositionName, ...] = ("input", "prediction")


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles:
    """The base run is edited, the source run gives the state."""

    mode: Mode
    base: TokenBatch
    source: TokenBatch
    base_positions: dict[str, Int[Tensor, " pair"]]
    """Where each named position lies in the base prompts."""
    source_positions: dict[str, Int[Tensor, " pair"]]
    target: Int[Tensor, " pair"]
    foil: Int[Tensor, " pair"]
    preferred: bool = False
    """Whether success means that the source's answer is likelier than the base's, as of pairs that
    were kept by preference, and not that it is the first choice."""

    def of(self, pairs: slice) -> "Roles":
        """The roles of some of the pairs."""
        return Roles(
            mode=self.mode,
            base=self.base[pairs],
            source=self.source[pairs],
            base_positions={name: at[pairs] for name, at in self.base_positions.items()},
            source_positions={name: at[pairs] for name, at in self.source_positions.items()},
            target=self.target[pairs],
            foil=self.foil[pairs],
            preferred=self.preferred,
        )

    @property
    def intended(self) -> Int[Tensor, " pair"]:
        """The answer of the source run, which a successful intervention brings about."""
        return self.target if self.mode == "denoise" else self.foil

    @property
    def replaced(self) -> Int[Tensor, " pair"]:
        """The answer of the base run."""
        return self.foil if self.mode == "denoise" else self.target


def assign_roles(task: Task, mode: Mode, *, positions: tuple[str, ...], caller: str) -> Roles:
    """Name the runs and find the positions, or say what the task lacks.

    Raises:
        ValueError: unknown mode or position name, a task without pairs or without an input
            position where one is asked for.
    """
    if mode not in MODES:
        raise ValueError(f"{caller}: mode must be one of {', '.join(MODES)}, got {mode!r}.")
    for name in positions:
        if name not in POSITION_NAMES:
            raise ValueError(
                f"{caller}: positions are named {' or '.join(POSITION_NAMES)}, got {name!r}."
            )
    if (
        task.corrupted_tokens is None
        or task.target_ids is None
        or task.foil_ids is None
        or task.corrupted_prediction_positions is None
    ):
        raise ValueError(
            f"{caller}: task {task.name!r} has plain prompts alone; interventions need pairs with "
            f"the columns clean, corrupted, target and foil."
        )
    clean = {"prediction": task.prediction_positions}
    corrupted = {"prediction": task.corrupted_prediction_positions}
    if "input" in positions:
        if task.input_positions is None or task.corrupted_input_positions is None:
            raise ValueError(
                f"{caller}: task {task.name!r} has no input position; add the columns input and "
                f"corrupted_input, or ask for the prediction position alone."
            )
        clean["input"] = task.input_positions
        corrupted["input"] = task.corrupted_input_positions
    denoise = mode == "denoise"
    return Roles(
        mode=mode,
        base=task.corrupted_tokens if denoise else task.clean_tokens,
        source=task.clean_tokens if denoise else task.corrupted_tokens,
        base_positions=corrupted if denoise else clean,
        source_positions=clean if denoise else corrupted,
        target=task.target_ids,
        foil=task.foil_ids,
        preferred=task.keep == "preferred",
    )
