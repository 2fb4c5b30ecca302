"""The fast exact engine: many interventions from one base run, rerunning only what they change.

`engine` checks and runs a plan in one of two `ways`; `runs` says what each intervention can
change, `base` keeps the unedited run, and a `chunk` of runs goes through the model's `blocks`
(those of `hugging_face` or `hooked`) with `attention` of its own.
"""

from lensdepth.replay.engine import replay, replay_measure
from lensdepth.replay.plan import Engine, Part

__all__ = ["Engine", "Part", "replay", "replay_measure"]
