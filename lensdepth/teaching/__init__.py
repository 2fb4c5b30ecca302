"""What the course in notebooks/ stands on: exercises that check themselves, computed prose,
figures for every notebook, tasks that a model knows, and planted models, whose answers are known.

>>> from lensdepth.teaching import check
>>> check("02.kl", my_kl)
"""

from lensdepth.teaching.cases import planted_case
from lensdepth.teaching.cost import Cost, claims_cost, measured_flops
from lensdepth.teaching.display import Prose, Shown, say, show
from lensdepth.teaching.exercise import Exercise, Feedback, Mistake
from lensdepth.teaching.exercises import check, list_exercises
from lensdepth.teaching.figures import depth_lines, square_map
from lensdepth.teaching.tasks import pick_task

__all__ = [
    "Cost",
    "Exercise",
    "Feedback",
    "Mistake",
    "Prose",
    "Shown",
    "check",
    "claims_cost",
    "depth_lines",
    "list_exercises",
    "measured_flops",
    "pick_task",
    "planted_case",
    "say",
    "show",
    "square_map",
]
