"""Many models, many prompts, many machines: `run_sweep`, which loses nothing."""

from lensdepth.scale.result import Sweep
from lensdepth.scale.run import run_sweep

__all__ = ["Sweep", "run_sweep"]
