"""Circuits: what each component adds to an answer, where heads look, what a set of them does."""

from lensdepth.circuit.attribution import attribute_logits
from lensdepth.circuit.attribution_profile import AttributionProfile
from lensdepth.circuit.components import Component, parse_component
from lensdepth.circuit.graph import CircuitGraph
from lensdepth.circuit.graphing import circuit_graph, graph_faithfulness, patch_edge
from lensdepth.circuit.patching import patch_components
from lensdepth.circuit.patterns import AttentionPatterns, attention_patterns
from lensdepth.circuit.result import CircuitResult

__all__ = [
    "AttentionPatterns",
    "AttributionProfile",
    "CircuitGraph",
    "CircuitResult",
    "Component",
    "attention_patterns",
    "attribute_logits",
    "circuit_graph",
    "graph_faithfulness",
    "parse_component",
    "patch_components",
    "patch_edge",
]
