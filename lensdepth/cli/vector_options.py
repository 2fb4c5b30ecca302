"""A steering vector from a file, and where it goes: `--apply` of write and steer."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensdepth.outside import shown

if TYPE_CHECKING:
    from lensdepth.model import DepthModel
    from lensdepth.steering import SteeringVector

PAIR = re.compile(r"(\d{1,6}):(\d{1,6})")
SAVED = "Saved vector"
"""Panel of the help."""


@dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """A saved vector and where it goes."""

    apply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A saved steering vector, or a control vector of repeng (.gguf), which brings its "
            "own edit, depths and positions.",
            show_default="none",
            rich_help_panel=SAVED,
        ),
    ] = None
    depth_map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="D:E",
            help="With --apply, the vector's depth (or block) D goes to E; may be given several "
            "times.",
            show_default="its own",
            rich_help_panel=SAVED,
        ),
    ] = None
    allow_other_model: Annotated[
        bool,
        typer.Option(
            "--allow-other-model",
            help="With --apply, take the vector to a model that it was not made on.",
            rich_help_panel=SAVED,
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.apply is None and (self.depth_map or self.allow_other_model):
            raise ValueError("--depth-map and --allow-other-model go with --apply.")
        if self.apply is not None and not self.apply.is_file():
            raise FileNotFoundError(f"--apply {shown(str(self.apply))}: there is no such file.")
        _ = self.mapped  # says what is wrong with it

    @property
    def mapped(self) -> dict[int, int] | None:
        """`depth_map` of `apply_vector`.

        Raises:
            ValueError: an entry is no D:E.
        """
        if self.depth_map is None:
            return None
        pairs = [PAIR.fullmatch(one) for one in self.depth_map]
        found = {int(pair[1]): int(pair[2]) for pair in pairs if pair}
        if len(found) < len(self.depth_map):
            raise ValueError(
                f"--depth-map must be D:E, two depths (or blocks), each D once; got "
                f"{' '.join(self.depth_map)}."
            )
        return found

    def vector(self, model: "DepthModel", strength: float | None) -> "SteeringVector":
        """The vector of --apply, for this model.

        Args:
            model: where it shall act.
            strength: in place of its own.
        Raises:
            FileNotFoundError, ValueError: there is none, it is damaged, or it does not fit the
                model.
        """
        from lensdepth.gguf import is_gguf
        from lensdepth.steering import SteeringVector, load_repeng_vector

        assert self.apply is not None
        if is_gguf(self.apply):
            vector = load_repeng_vector(self.apply, model, allow_other_model=self.allow_other_model)
        else:
            vector = SteeringVector.load(self.apply)
        if strength is not None:
            vector = replace(vector, strength=strength)
        return vector.moved_to(
            model, depth_map=self.mapped, allow_other_model=self.allow_other_model
        )
