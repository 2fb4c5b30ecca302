"""Direction-only against norm-only: which part of a state carries the prediction, and what else?

`sweep` replaces a state's direction or its norm at every depth, `dose` by how much, and `decoding`
asks what can be read off either part. `given` makes the states that go in, and their controls.
"""

from lensdepth.ablation.decoding import DecodingProfile, decode_parts
from lensdepth.ablation.dose import dose_response
from lensdepth.ablation.dose_profile import DoseProfile
from lensdepth.ablation.parts import CONTROLS, EDITS, Reference
from lensdepth.ablation.profile import AblationProfile, Effect
from lensdepth.ablation.sweep import ablation_sweep

__all__ = [
    "CONTROLS",
    "EDITS",
    "AblationProfile",
    "DecodingProfile",
    "DoseProfile",
    "Effect",
    "Reference",
    "ablation_sweep",
    "decode_parts",
    "dose_response",
]
