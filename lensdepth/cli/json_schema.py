"""From kinds, as `schemas` has them, to JSON Schema."""

from typing import Any

from lensdepth.cli.schemas import OTHERS, OUTPUTS
from lensdepth.telling.plain import Json

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_names() -> tuple[str, ...]:
    """Names of all outputs: a command's, with what makes its output another one behind it."""
    return (*OUTPUTS, *OTHERS)


def command_of(name: str) -> str:
    """The command that prints it."""
    return OUTPUTS[name][0] if name in OUTPUTS else OTHERS[name][0]


def schema_of(name: str) -> Json:
    """The JSON Schema of one output.

    Raises:
        ValueError: there is no such output.
    """
    if name not in schema_names():
        raise ValueError(f"there is no schema {name!r}; there is {', '.join(schema_names())}.")
    if name in OUTPUTS:
        _, provenance, summary, row = OUTPUTS[name]
        kind: Any = {"provenance": provenance, "summary": summary, "rows": [row]}
    else:
        kind = OTHERS[name][1]
    title = f"lensdepth {command_of(name)} --json"
    return {"$schema": DRAFT, "title": title, **_schema(kind)}


def _schema(kind: Any) -> Json:
    """A kind, as the docstring of `schemas` writes it; a tuple of one is that or null."""
    if isinstance(kind, tuple):
        return {"anyOf": [_schema(kind[0]), {"type": "null"}]}
    if isinstance(kind, list):
        return {"type": "array", "items": _schema(kind[0])}
    if isinstance(kind, dict):
        named = {key.removesuffix("?"): _schema(of) for key, of in kind.items() if key != "*"}
        return {
            "type": "object",
            "properties": named,
            "required": [key for key in kind if key != "*" and not key.endswith("?")],
            "additionalProperties": _schema(kind["*"]) if "*" in kind else False,
        }
    word = kind.removesuffix("?")
    if word == "any":
        return {}
    return {"type": [word, "null"] if kind.endswith("?") else word}
