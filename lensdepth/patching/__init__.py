"""Activation patching at any stream, depths, positions and heads; windows of depths; a screen."""

from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.patching.windows import WindowProfile, patch_windows
from lensdepth.sweep.readings import METRICS, Metric
from lensdepth.sweep.spans import PatchPositions, text_span

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
