"""What patching a set of components says: summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.telling.names import position_name
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.circuit.result import CircuitResult


def run_names(result: "CircuitResult") -> dict[str, str]:
    """Each kind of run as readers know it, in the order in which they are shown."""
    n, whole = result.n_heads + result.n_mlps, result.n_components
    return {
        "base": "nothing (base run)",
        "circuit": f"the circuit ({n} of {whole})",
        "random": f"{len(result.random_values)} random sets of {n}",
        "complement": f"all others ({whole - n})",
        "everything": f"everything ({whole})",
        "source": "source run",
    }


def summary(result: "CircuitResult") -> Json:
    """Logit difference, transferred fraction and success of each kind of run, with intervals."""
    runs: Json = {}
    for row in result.mean_frame().to_dict("records"):
        runs[row["patched"]] = {
            name: {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
            for name in ("logit_diff", "transferred", "target_gain", "foil_loss", "success")
            if name in row
        }
    return to_json(
        {
            "runs": runs,
            "components": list(result.components),
            "n_heads": result.n_heads,
            "n_mlps": result.n_mlps,
            "n_components": result.n_components,
            "positions": list(result.positions),
            "n_random": len(result.random_values),
            "random_p": result.random_p,
            "mode": result.mode,
            "self_patch_error": result.self_patch_error,
        }
    )


def sentences(result: "CircuitResult") -> list[str]:
    """Where was patched, and how the random sets did."""
    where = ", ".join(map(position_name, result.positions))
    said = [f"Patched in one run at: {where}."]
    draws = len(result.random_values)
    if draws:
        least = int((1 + draws) * result.random_p + 0.5) - 1
        said.append(f"{least} of {draws} random sets transfer as much.")
    return said
