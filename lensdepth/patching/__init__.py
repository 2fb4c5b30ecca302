"""Activation patching at any stream, depths, positions and heads; windows of depths; a screen."""

from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.readings import METRICS, Metric
from lensdepth.patching.spans import PatchPositions, text_span
from lensdepth.patching.sweep import patch_sweep
from lensdepth.patching.windows import WindowProfile, patch_windows

__all__ = [
    "METRICS",
    "Metric",
    "PatchPositions",
    "PatchProfile",
    "WindowProfile",
    "patch_sweep",
    "patch_windows",
    "text_span",
]
