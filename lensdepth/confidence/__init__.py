"""What does the norm decide: nothing, how sure the model is, or what it answers?

`confidence_response` scales the norm of the last token's state, depth by depth, beside turns that
move it as far, and holds what both do to entropy, probability, first choice and calibration.
"""

from lensdepth.confidence.profile import ConfidenceProfile
from lensdepth.confidence.response import confidence_response

__all__ = ["ConfidenceProfile", "confidence_response"]
