"""Do wrong answers form at other depths than right ones?

`compare_mistakes` finds for each answer the depth from which on it stands, and holds right and
wrong ones side by side, against the same numbers with the two kinds dealt out anew.
"""

from lensdepth.mistakes.compare import compare_mistakes
from lensdepth.mistakes.profile import MistakeProfile

__all__ = ["MistakeProfile", "compare_mistakes"]
