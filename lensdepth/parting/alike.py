"""Whether two models can be compared state by state."""

from lensdepth.model import DepthModel
from lensdepth.provenance import ModelInfo

SAME = {
    "architecture": "architecture",
    "n_layers": "blocks (n_layers)",
    "d_model": "width (d_model)",
    "d_vocab": "tokens (d_vocab)",
    "tokenizer": "tokenizer",
    "weights": "weights",
    "double_bos": "reading of a second BOS token (double_bos)",
}
"""What must be alike, and what it is called. Processed weights have other directions and norms."""


def check_alike(model_a: DepthModel, model_b: DepthModel, *, caller: str) -> None:
    """Refuse two models whose states or tokens do not mean the same.

    Raises:
        ValueError: before any forward pass: they differ; the line says both sides.
    """
    a, b = model_a.info, model_b.info
    for name, words in SAME.items():
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours != theirs:
            raise ValueError(
                f"{caller}: two models of one architecture and tokenizer are needed, and these "
                f"differ in their {words}: {a.name} has {_said(ours)}, {b.name} has "
                f"{_said(theirs)}. compare_lenses puts other models on one relative depth."
            )


def _said(value: object) -> str:
    return str(value) if value != "" else "none"


def sides(a: ModelInfo, b: ModelInfo) -> tuple[str, str]:
    """What to call the two in words: by their names, and by what differs where these are alike."""
    names = []
    for one, other in ((a, b), (b, a)):
        marks = [
            str(getattr(one, key) or "plain")
            for key in ("dtype", "backend", "quantization", "device", "fingerprint")
            if getattr(one, key) != getattr(other, key)
        ]
        # A fingerprint goes with the dtype, and is needed where nothing else tells them apart.
        shown = marks if len(marks) == 1 else marks[:-1]
        names.append(f"{one.name} ({', '.join(shown)})" if a.name == b.name and marks else one.name)
    return names[0], names[1]
