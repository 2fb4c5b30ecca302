"""Circuits: what each component adds to an answer, where heads look, what a set of them does."""

from lensdepth.circuit.attribution import attribute_logits
from lensdepth.circuit.attribution_profile import AttributionProfile
from lensdepth.circuit.components import Component, parse_component
from lensdepth.circuit.patching import patch_components
from lensdepth.circuit.patterns import AttentionPatterns, attention_patterns
from lensdepth.circuit.result import CircuitResult

__all__ = [
    "AttentionPatterns",
    "AttributionProfile",
    "CircuitResult",
    "Component",
    "attention_patterns",
    "attribute_logits",
    "parse_component",
    "patch_components",
]
