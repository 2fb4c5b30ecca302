"""Claims and hypotheses: statements with a number in them, tested on a model, with verdicts."""

from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.evaluate import evaluate_claims
from lensdepth.claims.evidence import Evidence
from lensdepth.claims.experiment import HypothesisTable, HypothesisVerdict, evaluate_hypotheses
from lensdepth.claims.hypothesis import Condition, Hypothesis
from lensdepth.claims.hypothesis_file import load_hypotheses
from lensdepth.claims.models import compare_depths, compare_models
from lensdepth.claims.places import DepthComparison
from lensdepth.claims.power import prompts_needed
from lensdepth.claims.readiness import Readiness, check_readiness
from lensdepth.claims.result import ClaimTable, ClaimVerdict, Finding

__all__ = [
    "ClaimTable", "ClaimVerdict", "Condition", "DepthComparison", "Evidence", "Finding",
    "Hypothesis", "HypothesisTable", "HypothesisVerdict", "Readiness", "check_readiness",
    "compare_depths", "compare_models", "complete_evidence", "evaluate_claims",
    "evaluate_hypotheses", "load_hypotheses", "prompts_needed",
]  # fmt: skip
