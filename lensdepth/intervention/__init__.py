"""One intervention on one prompt, locally and globally, with all that follows from it."""

from lensdepth.edits import EDITS as ALL_EDITS
from lensdepth.edits import STRONG, NamedEdit
from lensdepth.intervention.intervene import intervene
from lensdepth.intervention.places import map_positions
from lensdepth.intervention.result import Intervention

__all__ = ["EDITS", "Intervention", "NamedEdit", "intervene", "map_positions"]

EDITS = {name: ALL_EDITS[name] for name in STRONG}
"""The edits that `intervene` makes, by name."""
