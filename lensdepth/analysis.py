"""What an analysis is for whoever shows it: its names and words, and the module that tells it.

That module, `told` in the analysis's own room, has

    curves(result)     what it has by depth, for tables and figures
    summary(result)    the same and more as JSON with fixed keys
    sentences(result)  what that says, in words
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lensdepth.sweep.told import control_notes, control_pairs, floor_notes, floors
from lensdepth.tasks.told import on_which_pairs
from lensdepth.telling.curves import Curve, DepthTable, depth_table
from lensdepth.telling.plain import Json
from lensdepth.transition import told as switches


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One kind of result, for whoever shows it."""

    key: str
    """Of its section on a page, and of its files."""
    name: str
    """Of its summary in JSON."""
    title: str
    question: str
    note: str = ""
    """How to read its figure, in a teacher's words."""
    result: str
    """Module and class of the result."""
    told: str
    """The module that tells it."""
    switches: tuple[str, ...] = ()
    """What is looked for along its curves; each has a verdict in `transition.told`."""
    by_depth: bool = True
    """Whether its numbers make a table by depth."""

    @property
    def kind(self) -> type:
        """The class of its result."""
        module, name = self.result.split(":")
        return getattr(import_module(module), name)

    def curves(self, result: Any) -> list[Curve]:
        """What the result has by depth."""
        return import_module(self.told).curves(result)

    def table(self, result: Any) -> DepthTable | None:
        """The same as a table."""
        return depth_table(self.curves(result), result.n_layers) if self.by_depth else None

    def summary(self, result: Any, *found: Any, **options: Any) -> Json:
        """The result as JSON, with what was found of its switches, in their order; None: nothing.

        Args:
            result: of this analysis.
            found: transitions and crossings, one for each of `switches`.
            options: of the room's own `summary`.
        """
        whole: Json = {}
        for name, one in self._switched(found).items():
            whole |= SUMMARIES[name](one)
        whole |= import_module(self.told).summary(result, **options)
        return whole | floors(result) | control_pairs(result)

    def sentences(self, result: Any, *found: Any, **options: Any) -> list[str]:
        """The same in words, and on how many pairs, where some were left out."""
        verdicts = [
            VERDICTS[name](one, result.n_layers)
            for name, one in self._switched(found).items()
            if one is not None or name == "lens"
        ]
        said = import_module(self.told).sentences(result, *verdicts, **options)
        return [*said, *self.notes(result)]

    def notes(self, result: Any) -> list[str]:
        """What stands beside its numbers: on which pairs they and their controls are, and where
        rounding begins."""
        return [
            *on_which_pairs(result.provenance), *control_notes(result), *floor_notes(result)
        ]  # fmt: skip

    def _switched(self, found: tuple[Any, ...]) -> Mapping[str, Any]:
        """What was found of each switch, None where it was not looked for."""
        if not found:
            return dict.fromkeys(self.switches)
        return dict(zip(self.switches, found, strict=True))


SUMMARIES = {
    "lens": switches.lens_summary,
    "patching": switches.patching_summary,
    "steering": switches.patching_summary,
    "sustained": switches.sustained_summary,
}
VERDICTS = {
    "lens": switches.lens_verdict,
    "patching": switches.patching_verdict,
    "steering": switches.steering_verdict,
    "sustained": switches.sustained_verdict,
}
