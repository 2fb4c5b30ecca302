"""Options that say which model is meant and how it is held."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

import typer

from lensdepth.cli.completion import complete_models

MODEL = "Model"
"""Panel of the help."""


class Limits(TypedDict):
    """Arguments of every analysis."""

    batch_size: int | None
    max_memory: int | None


class Where(TypedDict):
    """Which files of a folder or repository."""

    file: str | None
    revision: str | None
    subfolder: str


@dataclass(frozen=True, kw_only=True)
class HoldOptions:
    """How a model is held, whichever it is."""

    backend: Annotated[
        Literal["auto", "hooked", "bridge"],
        typer.Option(
            help="HookedTransformer, TransformerBridge, or the first that holds the model.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Such as cpu or cuda:1.",
            show_default="a CUDA device where there is one",
            rich_help_panel=MODEL,
        ),
    ] = None
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16", "float64"],
        typer.Option(help="Numbers the model computes in.", rich_help_panel=MODEL),
    ] = "float32"
    quantize: Annotated[
        Literal["int8", "nf4"] | None,
        typer.Option(
            help="Keep the blocks' matrices packed, by bitsandbytes: on the bridge, without "
            "attribution.",
            show_default="not",
            rich_help_panel=MODEL,
        ),
    ] = None
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code", help="Run code that comes with it.", rich_help_panel=MODEL
        ),
    ] = False
    single_bos: Annotated[
        bool,
        typer.Option(
            "--single-bos",
            help="Read one BOS token where a text has its own and the tokenizer adds another.",
            rich_help_panel=MODEL,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ModelOptions(HoldOptions):
    """Which model, how it is held, and how it is run."""

    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_models,
            help="A bundled or fetched model, a folder in Hugging Face format, a GGUF file, "
            "ollama:NAME, or a name on the hub (NAME or NAME@REVISION).",
            rich_help_panel=MODEL,
        ),
    ] = "calendar"
    file: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The GGUF file to take, of a folder or repository with several.",
            rich_help_panel=MODEL,
        ),
    ] = None
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Branch, tag or commit on the hub, such as a training checkpoint.",
            show_default="its main branch",
            rich_help_panel=MODEL,
        ),
    ] = None
    subfolder: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Where in the folder or repository the model lies.",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = ""
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Prompts in one forward pass.",
            min=1,
            show_default="what fits",
            rich_help_panel=MODEL,
        ),
    ] = None
    max_memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB",
            help="Memory to plan with.",
            min=0.001,
            show_default="2 on a CPU, half of what is free on a GPU",
            rich_help_panel=MODEL,
        ),
    ] = None

    @property
    def where(self) -> Where:
        """What says which files are meant, beside the name."""
        return {"file": self.file, "revision": self.revision, "subfolder": self.subfolder}

    @property
    def bounds(self) -> Limits:
        """The last two as every analysis takes them, the memory in bytes."""
        memory = None if self.max_memory is None else int(self.max_memory * 2**30)
        return {"batch_size": self.batch_size, "max_memory": memory}
