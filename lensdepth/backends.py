"""Which of TransformerLens's two classes a model is."""

from typing import Any

from lensdepth.outside import HUGGING_FACE, is_hugging_face, shown
from lensdepth.provenance import Backend


def backend_of(model: Any) -> Backend:
    """Which of TransformerLens's two classes a model is.

    Raises:
        TypeError: neither.
    """
    names = {kind.__name__ for kind in type(model).__mro__}
    if "TransformerBridge" in names:
        return "bridge"
    if "HookedTransformer" in names:
        return "hooked"
    hint = HUGGING_FACE if is_hugging_face(model) else "load_model takes names and folders"
    raise TypeError(
        f"DepthModel: needs a HookedTransformer or a TransformerBridge, got "
        f"{shown(type(model).__name__)[1:-1]}; {hint}."
    )
