"""Hook names as users write them: in full, or short.

Short names are those of TransformerLens's `get_act_name`, the block's number behind the name:
`resid_post3` for `blocks.3.hook_resid_post`, `z2`, `mlp_out0`, `scale4ln1`, `embed`.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from lensdepth.hooks import hook_hint
from lensdepth.outside import LONGEST_NAME, outside, shown

_SHORT = re.compile(r"([a-z_]+)([0-9]+)([a-z].*)?")
"""Name, block, and the layer norm or part of the block, if it takes one to tell."""
_FULL = re.compile(r"(?:blocks\.([0-9]+)\.)?(?:(attn|mlp|ln\w+)\.)?hook_(\w+)")
EXAMPLES = (
    "Hooks are named in full (blocks.0.hook_resid_post) or short (resid_post0, z0, mlp_out0)."
)


def full_name(points: Mapping[str, Any], name: str) -> str:
    """The full name of a hook of this model.

    Args:
        points: the model's `hook_dict`.
        name: full or short.
    Raises:
        ValueError: there is none; the nearest names are offered.
    """
    if name in points:
        return name
    full = lengthened(name)
    if full not in points:
        said = f"This model has no hook {shown(name)}.", hook_hint(points, full)
        raise ValueError(" ".join(filter(None, (*said, _near(points, name), EXAMPLES))))
    return full


def lengthened(name: str) -> str:
    """What a short name stands for, whether or not a model has it; a full one is left as it is."""
    found = _SHORT.fullmatch(name)
    with outside("TransformerLens's short hook names cannot be read"):
        from transformer_lens.utilities.components_utils import get_act_name

        # It reads no digits behind a name that has an underscore, so they are taken off before.
        return get_act_name(name) if found is None else get_act_name(*found.groups())


def _near(points: Mapping[str, Any], name: str) -> str:
    """A sentence with the names that come nearest, full or short as the given one; or nothing."""
    if len(name) > LONGEST_NAME:
        return ""
    in_full = "." in name or name.startswith("hook_")
    names = {full if in_full else _shortened(full) for full in points} - {None}
    by_lower = {str(each).lower(): str(each) for each in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    offered = " or ".join(shown(by_lower[each]) for each in close)
    return f"Did you mean {offered}?" if offered else ""


def _shortened(full: str) -> str | None:
    """The short name, of hooks that have one."""
    found = _FULL.fullmatch(full)
    if found is None:
        return None
    layer, part, name = found.groups()
    norm = part if part and part.startswith("ln") and layer else ""
    short = f"{name}{layer or ''}{norm}"
    return short if lengthened(short) == full else None
