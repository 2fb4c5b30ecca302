"""When in training does the switch appear, and does it move?

`training_dynamics` reads one checkpoint of a training after the other on the same pairs: what it
answers, where in its depth control passes and how fast. Then it says from which step on there is
such a place, and whether that place jumps, moves or stays, against what drawn units, checkpoints in
no order and paths that wander would give.
"""

from lensdepth.dynamics.measure import training_dynamics
from lensdepth.dynamics.profile import TrainingDynamics

__all__ = ["TrainingDynamics", "training_dynamics"]
