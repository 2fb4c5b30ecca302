"""Sentences in plain words, made from the numbers of results and from nothing else.

Each function takes results and gives sentences; where the numbers say "none" or "cannot tell",
so do the words. Text comes out unescaped: whoever shows it as HTML escapes it.
"""

from lensdepth.prose.claims import (
    FindingCells,
    claim_reasons,
    claims_verdict,
    corrected_p,
    finding_cells,
    settled_by,
)
from lensdepth.prose.geometry import coupling_verdict, geometry_sentences
from lensdepth.prose.locality import locality_sentences
from lensdepth.prose.notes import NOTES
from lensdepth.prose.parts import (
    ablation_sentences,
    ablation_verdict,
    decoding_sentences,
    dose_sentences,
)
from lensdepth.prose.sentences import (
    crossing_verdict,
    lens_sentences,
    lens_verdict,
    patch_sentences,
)  # fmt: skip
from lensdepth.prose.steering import steering_sentences, steering_verdict
from lensdepth.prose.whole import KeyNumber, accuracy, key_numbers, opening, order_verdict
from lensdepth.prose.wording import Estimate, between, block_of, counted, estimate, p_value, plain

__all__ = [
    "NOTES", "Estimate", "FindingCells", "KeyNumber", "ablation_sentences", "ablation_verdict",
    "accuracy", "between", "block_of", "claim_reasons", "claims_verdict", "corrected_p", "counted",
    "coupling_verdict", "crossing_verdict", "decoding_sentences", "dose_sentences", "estimate",
    "finding_cells", "geometry_sentences", "key_numbers", "lens_sentences", "lens_verdict",
    "locality_sentences",
    "opening", "order_verdict", "p_value", "patch_sentences", "plain", "settled_by",
    "steering_sentences", "steering_verdict",
]  # fmt: skip
