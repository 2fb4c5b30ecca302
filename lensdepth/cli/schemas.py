"""What `--json` prints, as data: keys and kinds of every command's output.

A kind is a word ("integer", "number", "string", "boolean", "any"), with "?" behind it where null
may stand; a list is a list of one kind; a dict is an object with these keys and no others, of which
those that end in "?" may be left out, and "*" stands for names that are not known beforehand.
"""

from typing import Any

ANY = {"*": "any"}
CURVE = ["number?"]
"""One number a depth."""
CURVES = {"*": CURVE}
"""By edit, position or part."""
BY_DEPTH = {"depth": ["integer"], "value": CURVE, "low": CURVE, "high": CURVE, "p?": CURVE}
SPREAD = {"value": CURVE, "low": CURVE, "high": CURVE}
MEAN = {"mean": "number", "low": "number?", "high": "number?"}
FLOOR = {"*": "number"}
"""Below which a number is rounding, by metric."""
COUNTS = {"drawn": "integer", "used": "integer", "multi_token": "integer", "wrong": "integer",
          "keep?": "string", "unkept?": "integer", "alone?": "integer"}  # fmt: skip
VERSIONS = {"*": "string"}

SINGLE = {"median": "number?", "low": "number?", "high": "number?", "first_quartile": "number?",
          "third_quartile": "number?", "near": "number?", "p_modes": "number?", "n_gap": "integer",
          "n_shared": "integer", "n_without": "integer", "groups": ["any"],
          "by_label": ["any"]}  # fmt: skip
"""Where single pairs switch."""
TRANSITION = {"verdict": "string", "reason": "string", "reading": "string", "depth": "number?",
              "low": "number?", "high": "number?", "between": "any", "width": "number?",
              "width_low": "number?", "width_high": "number?", "pair_width": "number?",
              "pair_width_low": "number?", "pair_width_high": "number?", "p": "number?",
              "p_flat": "number?", "p_wide": "number?", "n_pairs": "integer",
              "n_units": "integer", "pairs": SINGLE}  # fmt: skip
CROSSING = {"verdict": "string", "reason": "string", "depth": "number?", "low": "number?",
            "high": "number?", "between": "any", "n_pairs": "integer", "n_units": "integer",
            "pairs": SINGLE, "leaves?": "number?", "arrives?": "number?", "held_by?": "string?",
            "held_by_share?": "number?", "holders?": [ANY]}  # fmt: skip
EDITED = {"pair": "integer", "depth": "integer?", "relative_depth": "number?",
          "base_logit_diff": "number", "source_logit_diff": "number", "logit_diff": "number",
          "effect": "number?", "*": "any"}  # fmt: skip
"""One edited run: a number by each metric, and what it is under which labels."""

LENS = {"transition": (TRANSITION,), "kl": CURVE, "entropy": CURVE, "top1_agreement": CURVE,
        "contrast?": CURVE, "logit_diff?": CURVE, "preferred?": CURVE, "answer_agreement?": CURVE,
        "answer_kl?": CURVE}  # fmt: skip
PATCH = {"crossing": (CROSSING,), "crossing_verdict": "string?", "crossing_reason": "string?",
         "efficacy": CURVES, "transferred": CURVES, "target_gain": CURVES, "foil_loss": CURVES,
         "effects": {"metric": "string", "stream": "string", "positions": ["string"],
                     "tokens": ["string"], "heads": ["integer"], "mean": ["any"], "low": ["any"],
                     "high": ["any"]},
         "depths": ["integer"], "layers?": ["integer"], "mode": "string", "method": "string",
         "rank_correlation": "number?", "self_patch_error": "number?", "floor": FLOOR,
         "control_pairs?": "integer"}  # fmt: skip
ABLATE = {"transferred": CURVES, "kl": CURVES, "flip": CURVES, "success": CURVES,
          "target_gain": CURVES, "foil_loss": CURVES, "direction_minus_norm": SPREAD,
          "interaction": SPREAD, "shares": {"*": SPREAD}, "over_depths": {"*": "number?"},
          "scopes": {"*": {"*": CURVES}}, "identity_depth": "integer?",
          "identity_error": "number?", "position": "any", "scope": "string", "to": "string",
          "coordinates": "string", "n_reference": "integer?", "depths": ["integer"],
          "mode": "string", "self_patch_error": "number?", "floor": FLOOR,
          "control_pairs": "integer"}  # fmt: skip
DOSE = {"position": "any", "depths": ["integer"],
        "parts": {"*": {"doses": ["number"], "*": [CURVE]}}, "floor": FLOOR,
        "control_pairs": "integer"}  # fmt: skip
DECODE = {"position": "any", "depths": ["integer"], "labels": {"*": {"*": CURVES}},
          "skipped": {"*": "string"}}  # fmt: skip
NEEDED = {"verdict": ["string"], "k": CURVE, "k_low": CURVE, "k_high": CURVE, "share": CURVE,
          "share_low": CURVE, "share_high": CURVE, "labels_matter": ["boolean?"],
          "rank": ["integer"]}  # fmt: skip
BY_DIM = {"*": [CURVE]}
"""By basis and dimension: one number a depth."""
SUBSPACES = {"position": "string", "depths": ["integer"], "dims": ["integer"], "bases": ["string"],
             "needed": {"*": NEEDED}, "least_share": "number", "transferred": BY_DIM,
             "target_gain": BY_DIM, "foil_loss": BY_DIM, "success": BY_DIM, "apart": "string",
             "n_fits": "integer", "n_fitted": "integer", "loss": (BY_DIM,), "twin": (BY_DIM,),
             "twin_note": "string", "mode": "string", "self_patch_error": "number?",
             "floor": FLOOR, "control_pairs": "integer"}  # fmt: skip
NUMBER = {"value": "number?", "low": "number?", "high": "number?"}
BY_FACTOR = {"norm": [CURVE], "turn": [CURVE]}
NORM_JUDGED = {"depth": "integer", "verdict": "string", "reason": "string",
               "per_doubling": NUMBER, "moved": NUMBER, "lead": NUMBER, "flips": NUMBER,
               "flips_lead": NUMBER}  # fmt: skip
CALIBRATED = {"base": NUMBER} | BY_FACTOR
CONFIDENCE = {"verdict": "string", "reason": "string", "judged": [NORM_JUDGED],
              "depths": ["integer"], "factors": ["number"], "entropy": BY_FACTOR,
              "own_probability": BY_FACTOR, "flip": BY_FACTOR, "twin": {"*": "string"},
              "twin_note": "string",
              "calibration": ({"brier": CALIBRATED, "overconfidence": CALIBRATED},),
              "calibration_note": "string",
              "null_space": ({"dim": "integer", "gain": "number?", "expected": "number",
                              "share": CURVE, "entropy": CURVE, "direct": CURVE,
                              "neurons": (["integer"],)},),
              "n_pairs": "integer", "floor": FLOOR, "control_pairs": "integer"}  # fmt: skip
LANDMARK = {"verdict": "string", "reason": "string", "depth": "number?", "low": "number?",
            "high": "number?", "stands_out": "number?", "share": "number?",
            "p_flat": "number?", "difference": NUMBER,
            "shape": "string"}  # fmt: skip
GOES_ALONG = {"verdict": "string", "n": "integer", "rho": "number?", "p": "number?"}
LANDMARKS = {"switch": {"verdict": "string", "reason": "string", "depth": "number?",
                        "low": "number?", "high": "number?", "n_pairs": "integer",
                        "n_units": "integer"},
             "landmarks": {"*": LANDMARK}, "curves": {"*": SPREAD}, "read_dims": "integer",
             "read_share": "number?", "twin": {"*": "string"}, "twin_note": "string",
             "beside?": {"models": ["string"], "tasks": ["string"],
                         "landmarks": {"*": {"counts": {"*": "integer"}, "tasks": GOES_ALONG,
                                             "models": GOES_ALONG}}}}  # fmt: skip
APPLIED = {"strength": "number", "verdict": "string", "reason": "string", "whereto": "string",
           "flips_lead": NUMBER, "gain": NUMBER, "gain_lead": NUMBER, "loss": NUMBER,
           "flip": {"vector": NUMBER, "turn?": NUMBER}, "kl": {"vector": NUMBER, "turn?": NUMBER},
           "success": {"vector": NUMBER, "turn?": NUMBER},
           "said": [{"text": "string", "pairs": "integer"}]}  # fmt: skip
STEER_APPLY = {"edit": "string", "unit": "string", "doses": [APPLIED], "base_success": "number",
               "n_random": "integer", "n_pairs": "integer", "n_seen": "integer", "floor": FLOOR,
               "control_pairs": "integer"}  # fmt: skip
STEERED = {"*": {"*": {"*": CURVES}}}
STEER = {"crossing": (CROSSING,), "crossing_verdict": "string?", "crossing_reason": "string?",
         "sustained_crossing": (CROSSING,), "sustained_verdict": "string?", "scopes": STEERED,
         "base": ANY, "strength": "number", "budget": "number?", "n_folds": "integer",
         "smallest_centroid": "integer", "depths": ["integer"], "mode": "string", "floor": FLOOR,
         "control_pairs": "integer"}  # fmt: skip
ENOUGH = {"verdict": "string", "share": "number?", "low": "number?", "high": "number?",
          "n_pairs": "integer", "at_shared_tokens": "any", "random": "any"}  # fmt: skip
CIRCUIT = {"runs": {"*": {"*": MEAN}}, "enough": ENOUGH, "needed": ENOUGH,
           "components": ["string"], "n_heads": "integer", "n_mlps": "integer",
           "n_components": "integer", "positions": ["any"], "n_random": "integer",
           "random_p": "number?", "mode": "string", "self_patch_error": "number?",
           "floor": FLOOR}  # fmt: skip
NODE = {"node": "string", "kind": "string", "layer": "integer?", "head": "integer?",
        "position": "string", "token": "string", "effect": "number", "low": "number?",
        "high": "number?", "share": "number?", "above_floor": "boolean",
        "attribution": "number", "attribution_low": "number?", "attribution_high": "number?",
        "estimate": "number?"}  # fmt: skip
EDGE = {"upstream": "string", "downstream": "string", "paths": "string", "measured": "boolean",
        "effect": "number?", "low": "number?", "high": "number?", "share": "number?",
        "above_floor": "boolean?", "estimate": "number"}  # fmt: skip
GRAPH = {"nodes": [NODE], "edges": [EDGE], "n_edges": "integer", "n_measured": "integer",
         "n_candidates": "integer", "n_tried": "integer", "paths": "string", "mode": "string",
         "positions": ["string"], "tokens": ["string"], "way": "number",
         "attribution": {"nodes": "number", "others": "number", "biases": "number",
                         "logit_diff": "number"},
         "self_patch_error": "number", "floor": FLOOR, "enough?": ENOUGH,
         "needed?": ENOUGH}  # fmt: skip
ATTRIBUTE = {"logit_diff": MEAN, "against": "string", "targets": ["string"],
             "foils": (["string"],), "largest_residual": "number", "floor": FLOOR,
             "components": [{"component": "string", "value": "number", "low": "number?",
                             "high": "number?"}]}  # fmt: skip
SETTLED = {"n": "integer", "mean_depth": "number?", "median_depth": "number?", "settled": CURVE}
APART = {"verdict": "string", "reason": "string", "difference": "number?", "low": "number?",
         "high": "number?", "p": "number?"}  # fmt: skip
MISTAKES = APART | {"by": "string", "n_pairs": "integer", "n_units": {"*": "integer"},
            **dict.fromkeys(("right", "wrong", "almost", "off"), SETTLED),
            "differences": [APART | {"kind": "string", "than": "string"}]}  # fmt: skip
COMPONENT = {"part": "string", "layer": "integer?", "distance": "number"}
FOUND = {"value": "number", "low": "number?", "high": "number?"}
MEANS = {"value": "number?", "low": "number?", "high": "number?"}
CHOICE = {"n_sites": "integer", "candidates": ["integer"], "chosen": {"*": ["integer"]},
          "effects": {"*": [MEANS]}, "optimism": {"*": [MEANS]}, "random": [MEANS],
          "shuffled": [MEANS], "whole": MEANS, "verdict": "string", "lead": MEANS,
          "lead_over_shapley": MEANS, "lead_over_strongest": MEANS, "redundancy": "string",
          "group": ["integer"], "group_whole": (MEANS,), "group_alone": [MEANS],
          "group_lost": [MEANS], "frequency": {"*": ["number"]}, "apart": "string",
          "n_fits": "integer", "n_fitted": "integer", "mode": "string", "layers?": ["integer"],
          "chosen_layers?": {"*": ["integer"]}, "floor": FLOOR,
          "control_pairs": "integer"}  # fmt: skip
BOTH = {"a": "integer?", "b": "integer?"}
COMPARE = {"a": "string", "b": "string", "first": (COMPONENT,), "parted": [COMPONENT],
           "first_depth": "integer?", "components": "boolean",
           "floor": FLOOR, "noise": {"*": "number"},
           "kl": {"a_b": FOUND, "b_a": FOUND}, "same_first_choice": FOUND, "decides": BOTH,
           "taken_from": BOTH, "n_prompts": "integer", "n_units": "integer",
           "*": CURVE}  # fmt: skip
APPEARS = {"verdict": "string", "reason": "string", "learned": "integer?", "after": "integer?",
           "by": "integer?"}  # fmt: skip
MAYBE = {"value": "number?", "low": "number?", "high": "number?"}
COURSE = {"verdict": "string", "reason": "string", "after": "integer?", "by": "integer?",
          "low": "number?", "high": "number?", "change": MAYBE, "stray": MAYBE,
          "explained": "number?", "p_units": "number?", "p_order": "number?", "p_walk": "number?",
          "steps": ["integer"], "location": ["number?"], "n_pairs": "integer",
          "n_units": "integer"}  # fmt: skip
MOMENT = {"step": "integer", "model": "string", "fingerprint": "string", "kind": "string",
          "reason": "string", "right": MAYBE, "preferred": "number", "n_right": "integer",
          "n_units": "integer", "depth": MAYBE, "relative_depth": "number?", "width": MAYBE,
          "leaves": "number?", "arrives": "number?", "lens": "string?", "lens_depth": MAYBE,
          "lens_width": MAYBE, "coupling": MAYBE, "claims": {"*": "string"}}  # fmt: skip
DYNAMICS = {"appears": APPEARS, "course": COURSE, "n_checkpoints": "integer",
            "n_pairs": "integer", "checkpoints": [MOMENT]}  # fmt: skip
WRITTEN = {"text": "string", "tokens": ["string"], "settled": CURVE, "median_settled": "number?",
           "log_prob": CURVE, "rank": CURVE, "entropy": CURVE, "forced_kl": CURVE}  # fmt: skip
WRITE = {"runs": {"*": WRITTEN}, "n_tokens": "integer", "edit": "string?",
         "first_difference": "integer?", "unsettled": "integer", "counterfactual": "string?",
         "settled_by_patching": "any"}  # fmt: skip
DOSED = {"text": "string", "divergence": "number?", "kl": "number", "forced_kl": ["number"]}
WRITE_DOSE = {"verdict": "string", "judged": "number", "edit": "string", "unit": "string",
              "base_text": "string", "n_tokens": "integer", "n_random": "integer",
              "floor": "number",
              "doses": [{"strength": "number", "runs": {"*": DOSED}}]}  # fmt: skip
CLAIM = {"claim": "string", "title": "string", "verdict": "string", "effect": "number?",
         "low": "number?", "high": "number?", "p": "number?", "decisive": "string",
         "unit": "string", "threshold": "number?", "n": "integer", "origin": "string?",
         "n_twins": "integer", "twin_median": "number?", "twin_low": "number?",
         "twin_high": "number?", "twin_passing": "number?", "by_architecture": "boolean",
         "reason": "string"}  # fmt: skip
PLACE = {"model": "string", "n_layers": "integer", "verdict": "string", "relative_depth": "number?",
         "low": "number?", "high": "number?", "se": "number?", "n_units": "integer",
         "n_twins": "integer", "twins_placed": "integer"}  # fmt: skip
DEPTHS = {"verdict": "string", "what": "string", "spread": "number?", "p_closer": "number?",
          "p_different": "number?", "twin_share": "number?", "n_twin_sets": "integer",
          "by_architecture": "boolean", "places": [PLACE]}  # fmt: skip
CLAIMS = {"claims": [CLAIM], "accuracy": "number", "n_pairs": "integer", "n_prompts": "integer",
          "located": "number?", "handover": ["number?"], "n_twins": "integer",
          "twins_note": "string", "control_pairs": "integer"}  # fmt: skip
TESTED = {"hypothesis": "string", "family": "string", "verdict": "string", "p": "number?",
          "effect": "number?", "low": "number?", "high": "number?", "threshold": "number?",
          "expect": "string?", "unit": "string", "n": "integer", "says": "string",
          "reason": "string", "prompts_for_90_percent_power": "integer?"}  # fmt: skip
SECTIONS = {"lens?": LENS, "patch?": PATCH, "ablate?": ABLATE, "steer?": STEER, "dose?": DOSE,
            "*": "any"}  # fmt: skip
MISSING = {"what": "string", "state": "string", "required": "boolean", "for": "string",
           "mend": "string"}  # fmt: skip
KEPT = {"name": "string", "folder": "string", "bytes": "integer", "*": "any"}

PROVENANCE = {
    "analysis": "string",
    "model": {"name": "string", "architecture": "string", "backend": "string", "weights": "string",
              "n_layers": "integer", "d_model": "integer", "d_vocab": "integer",
              "n_heads": "integer", "n_ctx": "integer", "normalization": "string",
              "dtype": "string", "device": "string", "fingerprint": "string",
              "configuration": "string", "tokenizer": "string", "double_bos": "boolean",
              "quantization": "string", "origin": "string"},
    "task": "string", "prompts": ["string"], "prompts_fingerprint": "string", "settings": ANY,
    "seed": "integer", "versions": VERSIONS, "created": "string", "pairs": ANY,
    "units": ["any"], "labels": ["any"], "joining": "string",
}  # fmt: skip
INSTALLED = {"versions": VERSIONS}
SWEPT = INSTALLED | {"sweep": "string"}
DONE = {"folder": "string", "shards": "integer", "missing": ["integer"]}
LOOK = {"n_pairs": "integer", "n_units": "integer", "verdict": "string", "depth": "number?",
        "low": "number?", "high": "number?", "seconds": "number"}  # fmt: skip
"""What was known after some of the pairs."""

PAIRS = {"pairs": COUNTS}
OUTPUTS: dict[str, tuple[str, Any, Any, Any]] = {
    "report": ("report", PROVENANCE,
        {"path": "string", "tables": "string", "task": ANY, "pairs": COUNTS, "seed": "integer",
         "absent": {"*": "string"}, "seconds": {"*": "number"}, "runs": "integer?",
         "switches": [ANY], "comparison?": ANY, **SECTIONS},
        {"depth": "integer", "after": "string", "relative_depth": "number", "*": "number?"}),
    "report-plan": ("report --dry-run", PROVENANCE,
        {"seconds": "number", "bytes": "integer", "told": "string"},
        {"section": "string", "seconds": "number", "edited_runs": "integer", "bytes": "integer"}),
    "lens": ("lens", PROVENANCE, LENS | {"pairs?": COUNTS},
        {"depth": "integer", "relative_depth": "number", "prompt": "integer",
         "position": "integer", "token": "string", "kl": "number", "entropy": "number",
         "top1_agreement": "number", "top1": "string", "top1_log_prob": "number",
         "final_rank": "number", "*": "number?"}),
    "lens-fit": ("lens --fit", PROVENANCE,
        {"n_prompts": "integer", "n_tokens": "integer", "source": "string",
         "estimated_seconds": "number", "kl_before": CURVE, "kl_after": CURVE,
         "n_held_out": "integer"},
        {"depth": "integer", "relative_depth": "number", "*": "number?"}),
    "geometry": ("geometry", PROVENANCE, {"pairs": COUNTS, "*": BY_DEPTH},
        {"depth": "integer", "relative_depth": "number", "measure": "string", "value": "number?",
         "low": "number?", "high": "number?", "p": "number?"}),
    "landmarks": ("landmarks", PROVENANCE, LANDMARKS | PAIRS,
        {"landmark": "string", "verdict": "string", "reason": "string", "depth": "number?",
         "relative_depth": "number?", "n_pairs": "integer", "n_units": "integer",
         "*": "number?"}),
    "ablate": ("ablate", PROVENANCE, ABLATE | PAIRS, EDITED),
    "ablate-dose": ("ablate --dose", PROVENANCE, DOSE | PAIRS, EDITED),
    "ablate-decode": ("ablate --decode", PROVENANCE, DECODE | PAIRS,
        {"position": "any", "label": "string", "kind": "string", "part": "string",
         "depth": "integer", "relative_depth": "number", "*": "number?"}),
    "subspaces": ("subspaces", PROVENANCE, SUBSPACES | PAIRS, EDITED),
    "confidence": ("confidence", PROVENANCE, CONFIDENCE | PAIRS,
        {"edit": "string", "factor": "number", "pair": "integer", "depth": "integer",
         "relative_depth": "number", "base_entropy": "number", "entropy": "number",
         "flip": "number", "own_probability": "number", "confidence": "number", "right": "number",
         "effect": "number"}),
    "choose": ("choose", PROVENANCE, CHOICE | PAIRS,
        {"method": "string", "size": "integer", "depth": "integer", "relative_depth": "number",
         "layer?": "integer", "set": "string", "effect": "number", "*": "number?"}),
    "patch": ("patch", PROVENANCE, PATCH | PAIRS | {"stopped?": "string", "level?": "number",
        "n_pairs_there?": "integer", "looks?": [LOOK]}, EDITED),
    "attribute": ("attribute", PROVENANCE, ATTRIBUTE | {"pairs?": COUNTS},
        {"prompt": "integer", "target": "string", "foil": "string?", "component": "string",
         "kind": "string", "layer": "integer?", "depth": "integer?", "relative_depth": "number?",
         "head": "integer?", "value": "number", "logit_diff": "number"}),
    "circuit": ("circuit", PROVENANCE, CIRCUIT | PAIRS,
        {"patched": "string", "draw": "integer?", "pair": "integer", "*": "number?"}),
    "graph": ("graph", PROVENANCE, GRAPH | PAIRS, EDGE),
    "steer": ("steer", PROVENANCE, STEER | PAIRS, EDITED),
    "steer-apply": ("steer --apply FILE", PROVENANCE, STEER_APPLY | PAIRS,
        {"edit": "string", "strength": "number", "pair": "integer", "base_logit_diff": "number",
         "logit_diff": "number", "kl": "number", "flip": "number", "success": "number",
         "answer_probability": "number", "effect": "number", "first_choice": "string",
         "base_choice": "string", "*": "number?"}),
    "mistakes": ("mistakes", PROVENANCE, MISTAKES | PAIRS,
        {"pair": "integer", "prompt": "string", "answer": "string", "target": "string",
         "wrong": "boolean", "almost": "boolean?", "depth": "number", "relative_depth": "number"}),
    "compare": ("compare", PROVENANCE, COMPARE | {"pairs?": COUNTS},
        {"prompt": "integer", "depth": "integer", "relative_depth": "number", "*": "number?"}),
    "dynamics": ("dynamics", PROVENANCE, DYNAMICS | PAIRS,
        {"step": "integer", "model": "string", "fingerprint": "string", "kind": "string",
         "relative_depth": "number?", "*": "any"}),
    "write": ("write", PROVENANCE, WRITE,
        {"run": "string", "token": "integer", "position": "integer", "text": "string",
         "depth": "number?", "relative_depth": "number?", "log_prob": "number", "rank": "number",
         "entropy": "number", "forced_kl": "number?", "forced_log_prob": "number?",
         "depth_by_patching": "number?"}),
    "write-dose": ("write --dose X", PROVENANCE, WRITE_DOSE,
        {"strength": "number", "run": "string", "token": "integer", "position": "integer",
         "text": "string", "written": "string", "same": "boolean", "kl": "number"}),
    "claims": ("claims", PROVENANCE, CLAIMS | PAIRS,
        {"claim": "string", "title": "string", "verdict": "string", "statement": "string",
         "decisive": "boolean", "says": "string", "unit": "string", "n": "integer", "*": "any"}),
    "claims-hypotheses": ("claims --hypotheses FILE", PROVENANCE,
        {"hypotheses": [TESTED]} | PAIRS, {"hypothesis": "string", "*": "any"}),
    "claims-models": ("claims --against NAME", PROVENANCE,
        {"models": [{"model": "string"} | CLAIMS], "mixed_numerics": "string?",
         "depths": (DEPTHS,)},
        {"model": "string", "n_layers": "integer", "claim": "string", "verdict": "string",
         "*": "any"}),
    "check": ("check", PROVENANCE,
        {"drawn": "integer", "one_token": "integer", "right": "integer", "preferred": "integer",
         "by": "string", "units": "integer", "edited_runs": "integer?", "seconds": "number?",
         "weights_bytes": "integer?", "states_bytes": "integer?",
         "claims": [{"claim": "string", "can_be_judged": "boolean", "missing": ["string"]}],
         "sweeps": [{"name": "string", "edited_runs": "integer", "seconds": "number"}]},
        {"template": "string", "pairs": "integer", "right": "integer", "preferred": "integer"}),
    "capture": ("capture", PROVENANCE,
        {"folder": "string", "prompts": "integer", "depths": ["integer"], "*": "any"}, ANY),
    "sweep": ("sweep", SWEPT, DONE, {}),
    "sweep-collect": ("sweep --collect", SWEPT, DONE, {}),
    "sweep-validate": ("sweep --validate", INSTALLED,
        {"models": "integer", "tasks": "integer", "analyses": "integer"}, {}),
    "sweep-plan": ("sweep --dry-run", INSTALLED,
        {"shards": "integer", "edited_runs": "integer", "seconds": "number", "bytes": "integer",
         "told": "string"}, ANY),
    "models": ("models", INSTALLED,
        {"architectures": {"*": ["string"]}, "converted": [KEPT], "hub_cache": [KEPT],
         "ollama": ["string"]},
        {"name": "string", "n_layers": "integer", "d_model": "integer", "d_vocab": "integer",
         "n_parameters": "integer", "bytes": "integer", "architecture": "string",
         "about": "string", "checkpoints": ["integer"]}),
    "models-clean": ("models --clean", INSTALLED,
        {"removed": "integer", "bytes": "integer", "folder": "string"}, {}),
    "fetch": ("fetch", INSTALLED, {},
        {"name": "string", "licence": "string", "folder": "string?", "*": "any"}),
    "tasks": ("tasks", INSTALLED, {"default": "string", "model?": "string", "n?": "integer"},
        {"name": "string", "description": "string", "forms": ["string"], "templates": ["string"],
         "form?": "string", "drawn?": "integer", "one_token?": "integer", "right?": "integer",
         "preferred?": "integer", "share_right?": "number", "share_preferred?": "number",
         "pairs_for_claims?": "integer?", "next?": "string?", "refused?": "string"}),
    "doctor": ("doctor", INSTALLED,
        {"torch_build": "string?", "offline": "boolean", "fetchable": ["string"],
         "backends": [{"backend": "string", "class": "string", "there": "boolean"}],
         "devices": [{"device": "string", "what": "string", "bytes": "integer?",
                      "usable": "boolean"}],
         "models": [{"kind": "string", "model": "string", "folder": "string",
                     "bytes": "integer?"}],
         "caches": [{"of": "string", "folder": "string", "bytes": "integer", "set_by": "string"}],
         "missing": [MISSING]},
        {"package": "string", "version": "string?", "needed": "string?", "required": "boolean",
         "state": "string", "for": "string", "mend": "string?"}),
}  # fmt: skip
"""By name: the command, what stands under `provenance` and `summary`, and one of the rows."""
PLAN = {"sweeps": [{"name": "string", "edited_runs": "integer"}], "edited_runs": "integer",
        "plain_runs": "integer", "seconds_per_prompt": "number", "most_seconds": "number",
        "weights_bytes": "integer", "states_bytes": "integer"}  # fmt: skip
OTHERS = {"claims-plan": ("claims --dry-run", {"plan": PLAN, "pairs": COUNTS})}
"""What is no provenance, summary and rows."""
