"""Where a result comes from: which model, which numerics, which prompts, which settings."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from lensdepth import __version__
from lensdepth.units import Units

Backend = Literal["hooked", "bridge"]
Weights = Literal["raw", "processed"]
LARGEST_SEED = 2**32 - 1
"""What NumPy's generators take."""

KEPT_PACKED = "kept packed by"
"""What `quantization` says of weights that stay packed while the model runs."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a number measured on this model depends on."""

    name: str
    """Bundled name, Hugging Face name, or the folder's own name."""
    architecture: str
    """Class name of the Hugging Face model, such as `LlamaForCausalLM`."""
    backend: Backend
    """`hooked`: TransformerLens's HookedTransformer. `bridge`: its TransformerBridge."""
    weights: Weights
    """`processed` where norms were folded or weights centred: other directions and norms."""
    n_layers: int
    d_model: int
    d_vocab: int
    n_heads: int
    n_ctx: int
    """Longest prompt in tokens."""
    normalization: str
    """`LN`, `RMS` or `none`: the kind of the final norm."""
    dtype: str
    device: str
    fingerprint: str
    """Sixteen hex digits that change when any weight changes."""
    configuration: str = ""
    """The same of all that the model's configuration sets otherwise than its class does; "" in
    results of lensdepth 0.1."""
    tokenizer: str = ""
    """The same of the tokenizer; "" where there is none, and in results of lensdepth 0.1."""
    double_bos: bool = True
    """Whether a BOS token in front of a text's own is read."""
    quantization: str = ""
    """How the weights were packed before they were unpacked, `Q4_K_M (81 Q5_0, 27 Q4_K ...)`, or
    are packed, `nf4, kept packed by bitsandbytes 0.50.2`; "" where they are plain and always were,
    and in results of lensdepth 0.1."""
    origin: str = ""
    """Where the model's files come from: a file and its SHA-256, or a commit; "" where that is not
    known."""

    @property
    def packing(self) -> str:
        """In a title: `unpacked from Q4_K_M`, or `nf4, kept packed by bitsandbytes 0.50.2`."""
        if not self.quantization or KEPT_PACKED in self.quantization:
            return self.quantization
        return f"unpacked from {self.quantization.split()[0]}"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything needed to make a result again."""

    analysis: str
    """Name of the public function that made the result."""
    model: ModelInfo
    task: str
    prompts: tuple[str, ...]
    """The clean prompts (or the plain ones), as given."""
    prompts_fingerprint: str
    """Sixteen hex digits over clean and corrupted prompts."""
    settings: dict[str, Any]
    """The options that the function was called with, as JSON values."""
    seed: int
    versions: dict[str, str]
    created: str
    """UTC time, ISO 8601."""
    pairs: dict[str, Any] = field(default_factory=dict)
    """Of a task: how many pairs (or prompts) were drawn and used, which were kept (`keep`), and how
    many were left out for what reason; empty where prompts were given alone."""
    units: Units = ()
    """Which pairs (or prompts) go together; () in results of lensdepth 0.1."""
    labels: Units = ()
    """What is known of each: labels, and the input word."""
    joining: str = ""
    """How answers of the task follow where neither they nor the prompts tell: `literal` or `space`;
    "" where there are none, and in results of lensdepth 0.1."""


def text_fingerprint(texts: Sequence[str]) -> str:
    """Sixteen hex digits over a list of texts, order included."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()[:16]


def installed_versions() -> dict[str, str]:
    """Versions of what numbers depend on."""
    found = {"python": platform.python_version()}
    # Of lensdepth itself what runs, not what some installation says: a source tree is ahead of it.
    found["lensdepth"] = __version__
    for package in ("transformer-lens", "transformers", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def make_provenance(
    analysis: str,
    model: ModelInfo,
    *,
    task: str,
    prompts: Sequence[str],
    corrupted: Sequence[str] = (),
    units: Units = (),
    labels: Units = (),
    joining: str = "",
    settings: Mapping[str, Any],
    seed: int = 0,
    pairs: Mapping[str, Any] | None = None,
) -> Provenance:
    """Stamp a result with the model, the prompts, the settings and the time."""
    return Provenance(
        analysis=analysis,
        model=model,
        task=task,
        prompts=tuple(prompts),
        prompts_fingerprint=text_fingerprint([*prompts, *corrupted]),
        settings=dict(settings),
        seed=seed,
        versions=installed_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        pairs=dict(pairs or {}),
        units=units,
        labels=labels,
        joining=joining,
    )


def other_than(
    found: Provenance, model: ModelInfo, *, prompts: Sequence[str], corrupted: Sequence[str] = ()
) -> str:
    """In what a result is not of this model and these prompts, in words; "" where it is.

    A model's name and origin do not count, since its fingerprint says which weights it has, and
    neither does what a result of an earlier version does not tell.
    """
    for name in (one.name for one in fields(ModelInfo)):
        theirs, ours = getattr(found.model, name), getattr(model, name)
        if name not in ("name", "origin", "quantization") and theirs not in ("", ours):
            return f"of another model: its {name} is {theirs}, and this one's {ours}"
    if found.prompts_fingerprint != text_fingerprint([*prompts, *corrupted]):
        return "of other prompts"
    return ""
