"""Geometry of the residual states by depth, and whether it follows the prediction.

`geometry_profile` reads one state a prompt: its length and turns (`reading`), how the cloud of
prompts lies (`anisotropy`, `dimension`), how the clouds of two depths resemble each other
(`similarity`), and whether states that lie apart have other predictions or contexts (`coupling`,
`context`): claims C3, C4 and C6 of Haim & McNamee, arXiv 2602.04931.
"""

from lensdepth.geometry.captured import captured_geometry
from lensdepth.geometry.dimension import effective_rank, participation_ratio, two_nn
from lensdepth.geometry.measure import geometry_profile
from lensdepth.geometry.profile import GeometryProfile, Measure

__all__ = [
    "GeometryProfile",
    "Measure",
    "captured_geometry",
    "effective_rank",
    "geometry_profile",
    "participation_ratio",
    "two_nn",
]
