"""Where in its depth is each token of a written text decided?

`generation_profile` lets a model write and reads, for every token, from which depth on it stands;
with an edit held on, it writes once more, and says what that changes token by token.
"""

from lensdepth.continuation.generate import generation_profile
from lensdepth.continuation.profile import GenerationProfile

__all__ = ["GenerationProfile", "generation_profile"]
