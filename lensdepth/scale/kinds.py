"""The analyses that a sweep can run: which function, whether pairs may be cut, what is averaged.

An analysis of which every number belongs to one pair alone is run slice by slice, and its rows are
those of the whole. One that reads all prompts together (a cloud of states, centroids) is one shard
of the whole task, whatever the configuration says of slices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One analysis."""

    function: str
    """Module and name of the public function."""
    sliced: bool = True
    """Whether its numbers are each of one pair, so that pairs may be cut into slices."""
    pairs: bool = True
    """Whether plain prompts will not do."""
    edits: bool = True
    """Whether it runs edited runs, which can be rehearsed."""
    of_slice: tuple[str, ...] = ()
    """Columns that depend on which other prompts are in the slice, and are left out."""
    lines: tuple[str, ...] = ()
    """Columns whose values tell its curves apart."""
    means: tuple[str, ...] = ()
    """Columns of which means over pairs are taken; empty where its rows are over all pairs."""
    value: str = ""
    """Where its rows are over all pairs: the column of the number, beside `low` and `high`."""
    drawn: str = ""
    """What the figure shows of it: one of `means`, or of `value` a label; nothing where its numbers
    have more places than a depth."""
    shown: tuple[tuple[str, str], ...] = ()
    """Of the curves, those that the figure has: (column, value) pairs that must hold."""

    @property
    def run(self) -> Callable[..., Any]:
        """The function."""
        module, name = self.function.split(":")
        return getattr(import_module(module), name)


_FRACTIONS = ("transferred", "target_gain", "foil_loss")

KINDS = {
    "lens": Kind(
        function="lensdepth.lens:logit_lens",
        pairs=False,
        edits=False,
        of_slice=("answer_kl", "answer_entropy", "answer_agreement"),
        means=("kl", "entropy", "top1_agreement", "logit_diff", "contrast"),
        drawn="kl",
    ),
    "geometry": Kind(
        function="lensdepth.geometry:geometry_profile",
        sliced=False,
        pairs=False,
        edits=False,
        lines=("measure",),
        value="value",
        drawn="norm",
        shown=(("measure", "norm"),),
    ),
    "decode": Kind(
        function="lensdepth.ablation:decode_parts",
        sliced=False,
        edits=False,
        lines=("position", "label", "kind", "part"),
        value="score",
    ),
    "attribute": Kind(
        function="lensdepth.circuit:attribute_logits",
        pairs=False,
        edits=False,
        lines=("component", "kind", "layer", "head"),
        means=("value",),
    ),
    "patch": Kind(
        function="lensdepth.patching:patch_sweep",
        lines=("position", "head"),
        means=("success", "effect", *_FRACTIONS, "shuffled_source_success"),
        drawn="success",
    ),
    "windows": Kind(
        function="lensdepth.patching:patch_windows",
        lines=("first", "last"),
        means=("effect", *_FRACTIONS),
    ),
    "ablate": Kind(
        function="lensdepth.ablation:ablation_sweep",
        lines=("edit", "scope", "position"),
        means=("success", "flip", "effect", *_FRACTIONS),
        drawn="transferred",
        shown=(("edit", "direction"), ("scope", "local")),
    ),
    "dose": Kind(
        function="lensdepth.ablation:dose_response",
        lines=("part", "dose", "position"),
        means=("success", "flip", "effect", *_FRACTIONS),
    ),
    "steer": Kind(
        function="lensdepth.steering:steering_sweep",
        sliced=False,
        lines=("edit", "scope", "position"),
        means=("success", "flip", "effect", *_FRACTIONS),
        drawn="success",
        shown=(("edit", "full"), ("scope", "local")),
    ),
    "locality": Kind(
        function="lensdepth.locality:compare_local_global",
        means=("local", "whole", "without", "necessity", "direct", "total"),
        drawn="local",
    ),
    "transfer": Kind(
        function="lensdepth.locality:transfer_matrix",
        lines=("taken",),
        means=("effect", *_FRACTIONS),
    ),
    "trajectory": Kind(
        function="lensdepth.locality:trajectory_response",
        lines=("edited",),
        means=(
            "angle_from_base", "angle_to_source", "angle_progress", "norm", "norm_progress",
            "control_angle_from_base",
        ),
    ),
    "subspaces": Kind(
        function="lensdepth.subspaces:subspace_sweep",
        sliced=False,
        lines=("basis", "dim", "position"),
        means=("success", "effect", *_FRACTIONS),
    ),
    "confidence": Kind(
        function="lensdepth.confidence:confidence_response",
        sliced=False,
        lines=("edit", "factor"),
        means=("entropy", "own_probability", "flip", "confidence"),
    ),
    "landmarks": Kind(
        function="lensdepth.landmarks:find_landmarks",
        sliced=False,
        lines=("landmark", "verdict"),
        value="depth",
    ),
}  # fmt: skip
"""By the name that a configuration has for them."""
