"""Landmarks of geometry and lens: do they come before, at or after the depth where control passes?

`find_landmarks` puts them in order with the causal switch of the same pairs, and
`compare_landmarks` asks over tasks and models whether their places go together.
"""

from lensdepth.landmarks.across import LandmarkComparison, compare_landmarks
from lensdepth.landmarks.find import find_landmarks
from lensdepth.landmarks.profile import Landmarks

__all__ = ["LandmarkComparison", "Landmarks", "compare_landmarks", "find_landmarks"]
