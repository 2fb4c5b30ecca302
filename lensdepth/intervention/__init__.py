"""One intervention on one prompt, locally and globally, with all that follows from it."""

from lensdepth.intervention.edits import EDITS, Strength
from lensdepth.intervention.intervene import intervene
from lensdepth.intervention.places import map_positions
from lensdepth.intervention.result import Intervention

__all__ = ["EDITS", "Intervention", "Strength", "intervene", "map_positions"]
