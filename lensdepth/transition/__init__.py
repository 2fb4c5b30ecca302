"""Where along the depth things switch, how sharply, and whether they switch at all.

`find` fits a sigmoid to a profile, `change_point` cuts one or many in two, `commitment` asks from
where on a prompt's answer stays, `crossing` where two efficacy curves change places; `compare`
puts them side by side. All give intervals from drawing units anew, and all may answer that there
is no such place.
"""

from lensdepth.transition.change_point import ChangePoint, find_change_point
from lensdepth.transition.commitment import Commitment, find_commitment
from lensdepth.transition.compare import (
    Located,
    OrderComparison,
    WidthComparison,
    compare_definitions,
    compare_order,
    compare_widths,
    correct_many,
)
from lensdepth.transition.crossing import find_crossing, find_steering_crossing
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.find import find_transition
from lensdepth.transition.result import Transition

__all__ = [
    "ChangePoint",
    "Commitment",
    "Crossing",
    "Located",
    "OrderComparison",
    "Transition",
    "WidthComparison",
    "compare_definitions",
    "compare_order",
    "compare_widths",
    "correct_many",
    "find_change_point",
    "find_commitment",
    "find_crossing",
    "find_steering_crossing",
    "find_transition",
]
