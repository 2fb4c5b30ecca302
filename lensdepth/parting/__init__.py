"""Two models of one architecture: where do their runs part, and what does it take to swap them?

`compare_runs` holds two checkpoints, precisions, backends or quantisations side by side, state by
state: the first component that writes something else from the same input, what each block adds to
the divergence and what it hands on, and whose prediction comes out where writes or states are
swapped across.
"""

from lensdepth.parting.compare import compare_runs
from lensdepth.parting.profile import RunComparison

__all__ = ["RunComparison", "compare_runs"]
