"""One intervention on one prompt, locally and globally, with all that follows from it."""

from lensdepth.edits import STRONG_EDITS as EDITS
from lensdepth.edits import NamedEdit
from lensdepth.intervention.intervene import intervene
from lensdepth.intervention.places import map_positions
from lensdepth.intervention.result import Intervention

__all__ = ["EDITS", "Intervention", "NamedEdit", "intervene", "map_positions"]
