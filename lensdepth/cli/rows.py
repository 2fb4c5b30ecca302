"""What can be said of prompts before a model is loaded for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lensdepth.outside import LONGEST_REASON, cut, shown

if TYPE_CHECKING:
    from lensdepth.tasks.rows import Row


def check_row(
    row: "Row", source: str, keep: str | None, *, pairs: bool, labels: Sequence[str]
) -> None:
    """Refuse rows by what the first tells of all of them: whether they are pairs, and their labels.

    Raises:
        ValueError: plain prompts where pairs or answers are needed, or no such label.
    """
    plain = row.corrupted is None
    if plain and pairs and "target" in row.labels:
        raise ValueError(
            f"{shown(source)} has one prompt a row with its answer, and this needs a "
            f"second prompt beside it, such as another row's: the columns clean, corrupted, target "
            f"and foil, where foil answers corrupted. lens and geometry take it as it is."
        )
    if plain and pairs:
        raise ValueError(
            f"{shown(source)} has plain prompts alone, and this needs pairs, with the "
            f"columns clean, corrupted, target and foil; lens, geometry and attribute take plain "
            f"prompts."
        )
    if plain and keep == "correct":
        raise ValueError(
            f"--keep correct needs answers to compare with; {shown(source)} has plain "
            f"prompts alone."
        )
    lacking = [name for name in labels if name not in row.labels]
    if lacking:
        raise ValueError(
            f"{shown(source)} has no label column {shown(lacking[0])}; it has "
            f"{cut(', '.join(row.labels), LONGEST_REASON) or 'none'}."
        )
