"""Where in its depth is each token of a written text decided?

`generation_profile` lets a model write and reads, for every token, from which depth on it stands;
with an edit held on, it writes once more, and says what that changes token by token.
`continuation_dose` does the latter at several strengths, beside random turns.
"""

from lensdepth.continuation.dose_profile import ContinuationDose
from lensdepth.continuation.doses import continuation_dose
from lensdepth.continuation.generate import generation_profile
from lensdepth.continuation.profile import GenerationProfile

__all__ = ["ContinuationDose", "GenerationProfile", "continuation_dose", "generation_profile"]
