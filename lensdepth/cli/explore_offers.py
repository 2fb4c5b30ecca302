"""What the explorer may be asked for: names on the command line, and what comes along."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensdepth.explorer import Offers


def make_offers(
    models: Sequence[str],
    *,
    task: str | None,
    prompts: Sequence[str],
    backend: str,
    device: str | None,
    dtype: str,
    trust_remote_code: bool,
    double_bos: bool = True,
) -> "Offers":
    """The offers of these options; paths stay here, a page sees the last part of their names.

    Raises:
        ValueError: an unknown task, backend or dtype, or a prompt file that cannot be read.
        FileNotFoundError: there is no such file.
    """
    from lensdepth.bundled import bundled_names
    from lensdepth.devices import parse_dtype
    from lensdepth.explorer import Offers
    from lensdepth.tasks import list_tasks, list_templates
    from lensdepth.tasks.files import is_dataset_name, read_rows

    if backend not in ("auto", "hooked", "bridge"):
        raise ValueError(f"--backend must be auto, hooked or bridge, got {backend!r}.")
    parse_dtype(dtype)
    how: dict[str, Any] = {
        name: value
        for name, value, default in (
            ("backend", backend, "auto"),
            ("device", device, None),
            ("dtype", dtype, "float32"),
            ("trust_remote_code", trust_remote_code, False),
            ("double_bos", double_bos, True),
        )
        if value != default
    }
    named = dict.fromkeys(models or ["calendar"])
    offered = {_name(given, ()): {"name_or_path": given, **how} for given in named}
    for name in bundled_names():
        offered.setdefault(name, {"name_or_path": name, **how})
    tasks: dict[str, dict[str, Any]] = {}
    for file in prompts:
        if Path(file).expanduser().exists() or not is_dataset_name(file):
            read_rows(file)
        tasks[_name(file, tasks)] = {"name_or_path": Path(file), "on_multi_token": "drop"}
    if task is not None:
        list_templates(task)
    first = task or ("months" if not tasks else None)
    built_in = [*([first] if first else []), *list_tasks()]
    known = {name: {"name_or_path": name} for name in built_in}
    return Offers(models=offered, tasks=(known | tasks) if task else (tasks | known))


def _name(given: str, taken: Any) -> str:
    """What a page calls it: a folder or file by its own name, all else as it was given."""
    path = Path(given).expanduser()
    name = (path.resolve().name or given) if path.exists() else given
    return given if name in taken else name
