"""`lensdepth doctor`: what is installed, and what is missing for what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lensdepth.cli import session
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.options import DebugOption, JsonOption
from lensdepth.outside import visible
from lensdepth.telling.numbers import UNKNOWN
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.cli.tables import Parts

KINDS = {
    "bundled": "comes with lensdepth",
    "fetched": "fetched from the package index",
    "unpacked": "unpacked from a GGUF file",
    "hub": "in the hub's cache",
    "ollama": "held by Ollama",
}


@app.command(epilog=examples("doctor", "doctor --json | jq .summary.missing"))
def doctor(json: JsonOption = False, debug: DebugOption = False) -> None:
    """What is installed and on which devices, which models are here, what is missing for what."""
    with quiet(debug=debug):
        from lensdepth.cli import installed
        from lensdepth.provenance import installed_versions

        packages = [one.to_json() for one in installed.packages()]
        here = installed.models()
        found: Json = {
            "torch_build": installed.torch_build(),
            "backends": installed.backends(),
            "devices": installed.devices(),
            "models": here,
            "fetchable": installed.to_fetch(here),
            "caches": installed.caches(),
            "offline": installed.is_offline(),
        }
        found["missing"] = missing(packages, found)
        versions = installed_versions()
    if json:
        session.print_json(
            {"provenance": {"versions": versions}, "summary": found, "rows": packages}
        )
        return
    from lensdepth.cli import tables

    tables.show(*_parts(versions, packages, found))


def missing(packages: Sequence[Json], found: Json) -> list[Json]:
    """What one does without, and the line that mends it; what is required comes first."""
    rows = [
        {
            "what": row["package"],
            "state": row["state"],
            "required": row["required"],
            "for": row["for"],
            "mend": row["mend"],
        }
        for row in sorted(packages, key=lambda row: not row["required"])
        if row["state"] != "ok"
    ]
    if any(one["device"].startswith("cuda") and not one["usable"] for one in found["devices"]):
        rows.append(
            {
                "what": "torch's CUDA build",
                "state": "missing",
                "required": False,
                "for": f"the GPU: torch is built for {found['torch_build'] or 'nothing'}",
                "mend": "pip install --force-reinstall torch",
            }
        )
    if not any(one["backend"] == "hooked" and one["there"] for one in found["backends"]):
        rows.append(
            {
                "what": "HookedTransformer",
                "state": "missing",
                "required": False,
                "for": "--backend hooked; the bridge holds models without it",
                "mend": 'pip install "transformer-lens<4"',
            }
        )
    rows += [
        {
            "what": name,
            "state": "missing",
            "required": False,
            "for": "a real model to try",
            "mend": f"lensdepth fetch {name}",
        }
        for name in found["fetchable"]
    ]
    return rows


def _parts(versions: Json, packages: Sequence[Json], found: Json) -> "Parts":
    from rich.text import Text

    from lensdepth.cli.list_tables import megabytes
    from lensdepth.cli.tables import plain_table

    def size(n_bytes: int | None) -> str:
        return UNKNOWN if n_bytes is None else megabytes(n_bytes)

    lens = "transformer-lens"
    there = [
        f"{one['class']} (--backend {one['backend']})" for one in found["backends"] if one["there"]
    ]
    above = [("python", versions["python"], ""), ("lensdepth", versions["lensdepth"], "")]
    above += [
        ("torch", versions["torch"], f"built for {found['torch_build'] or 'nothing'}"),
        ("transformers", versions["transformers"], ""),
        (lens, versions[lens], ", ".join(there)),
    ]
    used = [row for row in packages if not row["required"] and row["version"]]
    above += [(row["package"], row["version"], row["for"]) for row in used]
    n_ok = sum(row["required"] and row["state"] == "ok" for row in packages)
    n_required = sum(row["required"] for row in packages)
    devices = [
        (one["device"], one["what"], size(one["bytes"]), "yes" if one["usable"] else "no")
        for one in found["devices"]
    ]
    models = [
        (visible(one["model"]), KINDS[one["kind"]], size(one["bytes"])) for one in found["models"]
    ]
    caches = [
        (one["of"], visible(one["folder"]), size(one["bytes"]), one["set_by"])
        for one in found["caches"]
    ]
    lacking = [
        (row["what"], row["state"] + " (required)" * row["required"], row["for"], row["mend"])
        for row in found["missing"]
    ]
    parts: Parts = [
        Text("Installed", "bold"),
        plain_table(("package", "version", "what for"), above),
        f"{n_ok} of the {n_required} packages that lensdepth requires are here, in versions that "
        "will do.",
        "",
        Text("Devices", "bold"),
        plain_table(("--device", "what", "memory", "usable by torch"), devices),
        "",
        Text("Models", "bold"),
        plain_table(("model", "where from", "size"), models),
        "",
        Text("Caches", "bold"),
        plain_table(("of", "folder", "size", "moved by"), caches),
        *["HF_HUB_OFFLINE is set: the hub is not asked for models."] * found["offline"],
        "",
        Text("Missing", "bold"),
    ]
    if not lacking:
        return [*parts, "nothing"]
    return [*parts, plain_table(("what", "state", "for", "mended by"), lacking)]
