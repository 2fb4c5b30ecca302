"""What a sweep is told, in TOML: models, tasks, analyses and their settings, as plain data.

Every error of a configuration is said at once, with its line. Names of options are those of the
functions that take them: `load_model`, `load_task`, and the analysis itself.
"""

import difflib
import itertools
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lensdepth.arguments import option_faults, option_names
from lensdepth.devices import parse_dtype
from lensdepth.loading import load_model
from lensdepth.outside import outside, shown
from lensdepth.provenance import LARGEST_SEED
from lensdepth.scale.kinds import KINDS
from lensdepth.scale.lines import Place, line_of, lines_of
from lensdepth.scale.names import model_fault
from lensdepth.tasks import list_tasks, list_templates, load_task
from lensdepth.tasks.files import looks_like_path

WHOLE = {"seed": (0, LARGEST_SEED), "pairs_per_shard": (1, None), "threads": (1, None),
         "batch_size": (1, None)}  # fmt: skip
"""Keys of whole numbers, with the least and the most."""
TABLES = ("models", "tasks", "analyses")
TOP = (*WHOLE, "max_memory", *TABLES, "ray", "slurm")
ENGINES = {
    "ray": {"address": str, "workers": int, "cpus": (int, float), "gpus": (int, float)},
    "slurm": {"cluster": str, "jobs": int, "folder": str, "parameters": dict},
}
"""What engines are told, with the kinds of the values; none of it changes a number."""


class ConfigError(ValueError):
    """All that is wrong with a configuration and its prompts."""

    def __init__(
        self,
        faults: Sequence[str],
        tasks: "Sequence[TaskSpec]" = (),
        analyses: "Sequence[AnalysisSpec]" = (),
    ) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
        """A line each."""
        self.tasks, self.analyses = tuple(tasks), tuple(analyses)
        """What could be read all the same, for whoever looks at the prompts."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model, in one revision and dtype."""

    name: str
    """What the table calls it."""
    model: str
    """What `load_model` is given."""
    revision: str = ""
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `load_model`."""

    @property
    def told(self) -> str:
        """In a line about it: `pythia@step1000 (bfloat16)`."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.name}{at}" + ("" if self.dtype == "float32" else f" ({self.dtype})")


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task or prompt file."""

    name: str
    source: str
    is_file: bool = False
    """Whether `source` is a prompt file or a data set."""
    first: int | None = None
    """So many rows of a data set are read, from its start, and the rest is not fetched."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `load_task`."""


@dataclass(frozen=True, kw_only=True)
class AnalysisSpec:
    """One analysis with its settings."""

    analysis: str
    """One of `KINDS`."""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """All models, on all tasks, by all analyses."""

    models: tuple[ModelSpec, ...]
    tasks: tuple[TaskSpec, ...]
    analyses: tuple[AnalysisSpec, ...]
    seed: int = 0
    """Of the draw of pairs and of the analyses."""
    pairs_per_shard: int = 64
    """Most pairs of a slice."""
    threads: int = 1
    """Of the CPU, in each process; one everywhere gives the same numbers on every engine."""
    batch_size: int | None = None
    max_memory: float | None = None
    """GiB that an analysis plans with."""
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What `ray` and `slurm` are told; it changes no number."""


def read_config(given: str | Path | Mapping[str, Any]) -> SweepConfig:
    """A configuration out of a TOML file, or of the same in memory.

    Paths of prompt files and of folders of models are taken from where the file lies.

    Raises:
        ConfigError: what is wrong with it, all of it, with lines.
        OSError: the file cannot be read.
    """
    if isinstance(given, Mapping):
        return _Reader(given, {(): 0}, "the configuration", Path.cwd()).config()
    path = Path(os.path.expanduser(given))
    with outside(f"the configuration {shown(str(given))} cannot be read", kind=OSError):
        data = path.read_bytes()
    with outside(f"the configuration {shown(str(given))} is not UTF-8 text"):
        text = data.decode("utf-8-sig")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path.name}: not TOML: {error}."]) from error
    return _Reader(values, lines_of(text), path.name, path.resolve().parent).config()


class _Reader:
    """One configuration being read: what is wrong is gathered on the way."""

    def __init__(
        self, values: Mapping[str, Any], lines: dict[Place, int], name: str, folder: Path
    ) -> None:
        self.values, self.lines, self.name, self.folder = values, lines, name, folder
        self.faults: list[tuple[int, str]] = []

    def config(self) -> SweepConfig:
        self._known((), self.values, TOP)
        numbers = {key: self.values[key] for key in WHOLE if self._is_whole((key,))}
        memory = self.values.get("max_memory")
        if memory is not None and not (_is_number(memory) and memory > 0):
            self._fault(("max_memory",), f"max_memory is a number of GiB, got {memory!r}")
        models = [one for at, table in self._tables("models") for one in self._models(at, table)]
        tasks = [self._task(at, table) for at, table in self._tables("tasks")]
        analyses = [one for at, t in self._tables("analyses") for one in self._analyses(at, t)]
        self._once("models", [(one.name, one.revision, one.dtype) for one in models])
        self._once("tasks", [one.name for one in tasks])
        engines = {name: self._engine(name) for name in ENGINES if name in self.values}
        if self.faults:
            # What is in one table and read for several models is said once.
            said = dict.fromkeys(sorted(self.faults, key=lambda fault: fault[0]))
            raise ConfigError([self._placed(*fault) for fault in said], tasks, analyses)
        return SweepConfig(
            models=tuple(models), tasks=tuple(tasks), analyses=tuple(analyses),
            max_memory=memory, engines=engines, **numbers,
        )  # fmt: skip

    def _placed(self, line: int, text: str) -> str:
        where = f"{self.name}, line {line}" if line else self.name
        return f"{where}: {text}" + "." * (text[-1:] != "?")

    def _fault(self, place: Place, text: str) -> None:
        self.faults.append((line_of(self.lines, place), text.rstrip(".")))

    def _known(self, place: Place, table: Mapping[str, Any], names: Sequence[str]) -> None:
        for key in table:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                self._fault((*place, key), f"there is no key {shown(key)}; {hint}")

    def _is_whole(self, place: Place) -> bool:
        key = str(place[-1])
        if key not in self.values:
            return False
        value, (least, most) = self.values[key], WHOLE[key]
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not fits or (most is not None and value > most):
            self._fault(place, f"{key} is a whole number from {least}, got {value!r}")
            return False
        return True

    def _tables(self, key: str) -> Iterator[tuple[Place, Mapping[str, Any]]]:
        """The tables of a list, with their places."""
        given = self.values.get(key)
        if not isinstance(given, list) or not given:
            what = "is missing" if given is None else "must be a list of tables"
            self._fault((key,), f"{key} {what}; begin each of them with [[{key}]]")
            return
        for i, table in enumerate(given):
            if isinstance(table, Mapping):
                yield (key, i), table
            else:
                self._fault((key, i), f"{key} must be a list of tables, got {table!r}")

    def _once(self, key: str, names: Sequence[Any]) -> None:
        for i, name in enumerate(names):
            if name in names[:i]:
                said = " ".join(filter(None, name)) if isinstance(name, tuple) else name
                self._fault((key,), f"{key}: {shown(said)} stands there twice; give one a name")

    def _texts(self, place: Place, table: Mapping[str, Any], one: str, default: str) -> list[str]:
        """`dtype = "float32"`, or `dtypes = ["float32", "bfloat16"]`."""
        many = f"{one}s"
        if one in table and many in table:
            self._fault((*place, many), f"give {one} or {many}, not both")
        given = table.get(many, [table.get(one, default)])
        if isinstance(given, list) and given and all(isinstance(x, str) for x in given):
            return list(dict.fromkeys(given))
        key = many if many in table else one
        self._fault((*place, key), f"{key} must be {'texts' if key == many else 'a text'}")
        return [default]

    def _text(self, place: Place, table: Mapping[str, Any], key: str) -> str | None:
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if value is not None:
            self._fault((*place, key), f"{key} must be a text, got {value!r}")
        return None

    def _models(self, place: Place, table: Mapping[str, Any]) -> Iterator[ModelSpec]:
        own = ("model", "name", "revision", "revisions", "dtype", "dtypes")
        options = {key: value for key, value in table.items() if key not in own}
        self._options(place, load_model, options, ("name_or_path", "device_map", *own), own)
        if "model" not in table:
            self._fault(place, "a model needs the key model: its name or folder")
        model, name = (self._text(place, table, key) for key in ("model", "name"))
        revisions = self._texts(place, table, "revision", "")
        dtypes = self._texts(place, table, "dtype", "float32")
        for dtype in dtypes:
            try:
                parse_dtype(dtype)
            except ValueError as fault:
                self._fault((*place, "dtype" if "dtype" in table else "dtypes"), str(fault))
        if model is None:
            return
        inside = self.folder / os.path.expanduser(model)
        where = str(inside) if inside.is_dir() else model
        for revision in revisions:
            fault = model_fault(where, revision=revision, file=options.get("file"))
            if fault:
                self._fault((*place, "model"), fault)
        for revision, dtype in itertools.product(revisions, dtypes):
            yield ModelSpec(
                name=name or Path(model).name, model=where, revision=revision, dtype=dtype,
                options=options,
            )  # fmt: skip

    def _task(self, place: Place, table: Mapping[str, Any]) -> TaskSpec:
        own = ("task", "prompts", "name", "first")
        options = {key: value for key, value in table.items() if key not in own}
        options |= {"n": None} if options.get("n", "all" * ("prompts" in table)) == "all" else {}
        self._options(place, load_task, options, ("name_or_path", "model", "name"), own)
        task, prompts, name = (self._text(place, table, key) for key in own[:3])
        if ("task" in table) == ("prompts" in table):
            self._fault(place, "a task needs either task, a name, or prompts, a file or data set")
        first = table.get("first")
        if first is not None and not (isinstance(first, int) and first is not True and first > 0):
            self._fault((*place, "first"), f"first is a whole number from 1, got {first!r}")
            first = None
        n = options.get("n")
        if isinstance(n, int) and n < 1:
            self._fault((*place, "n"), f"n must be at least 1, got {n}")
        if first is not None and prompts is None:
            self._fault((*place, "first"), "first is for data sets; a task is drawn: say n")
        if prompts is not None:
            inside = self.folder / os.path.expanduser(prompts)
            for key in ("template", "form"):
                if key in options:
                    self._fault((*place, key), f"{key} is of a built-in task; prompts have none")
            return TaskSpec(
                name=name or Path(prompts).stem, is_file=True, first=first, options=options,
                source=str(inside) if os.path.lexists(inside) or _is_path(prompts) else prompts,
            )  # fmt: skip
        if task is not None:
            self._built_in(place, task, options)
        return TaskSpec(name=name or task or "", source=task or "", options=options)

    def _built_in(self, place: Place, task: str, options: Mapping[str, Any]) -> None:
        known = list_tasks()
        if task not in known:
            near = difflib.get_close_matches(task.lower(), known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "see lensdepth tasks"
            file = "; a file goes under prompts" if looks_like_path(task) else ""
            self._fault((*place, "task"), f"there is no task {shown(task)}{file}; {hint}")
            return
        asked = options.get("template", [])
        templates = list_templates(task)
        for one in [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []:
            if one not in (*templates, "all"):
                near = difflib.get_close_matches(str(one), templates, n=2, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else ", ".join(templates)
                text = f"task {shown(task)} has no template {shown(one)}; {hint}"
                self._fault((*place, "template"), text)

    def _analyses(self, place: Place, table: Mapping[str, Any]) -> Iterator[AnalysisSpec]:
        self._known(place, table, ("analysis", "settings", "vary"))
        name = self._text(place, table, "analysis")
        if name not in KINDS:
            near = difflib.get_close_matches(name or "", KINDS, n=2, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else ", ".join(KINDS)
            missing = "an analysis needs the key analysis: its name"
            text = f"there is no analysis {shown(name)}; {hint}" if name else f"{missing}; {hint}"
            self._fault((*place, "analysis"), text)
            return
        settings, vary = (table.get(key, {}) for key in ("settings", "vary"))
        for key, given in (("settings", settings), ("vary", vary)):
            if not isinstance(given, Mapping):
                self._fault((*place, key), f"{key} must be a table, such as {{mode = ...}}")
                return
        kind, ways = KINDS[name], {key: way for key, way in vary.items() if key not in settings}
        for key, way in vary.items():
            if not isinstance(way, list) or not way or key in settings:
                rule = "a list of the values that are gone through, and no setting besides"
                self._fault((*place, "vary", key), f"vary: {key} must be {rule}")
                ways.pop(key, None)
        for values in itertools.product(*ways.values()):
            varied = dict(zip(ways, values, strict=True))
            self._settings(place, kind, settings, "settings")
            self._settings(place, kind, varied, "vary")
            yield AnalysisSpec(analysis=name, settings={**settings, **varied})

    def _settings(self, place: Place, kind: Any, given: Mapping[str, Any], key: str) -> None:
        besides = ("model", "task", "batch_size", "max_memory", "reference", "reading")
        self._options((*place, key), kind.run, given, besides)
        if kind.sliced and given.get("depths") == "auto":
            text = "depths are found on all pairs together, and slices would find others"
            self._fault((*place, key, "depths"), f"{text}; name them, or leave them out for all")

    def _options(
        self,
        place: Place,
        function: Any,
        given: Mapping[str, Any],
        besides: Sequence[str],
        own: Sequence[str] = (),
    ) -> None:
        """Options of a function, without what it is given otherwise, beside a table's own keys."""
        names = [name for name in option_names(function) if name not in besides]
        self._known(place, given, (*own, *names))
        asked = {name: value for name, value in given.items() if name in names}
        for name, fault in option_faults(function, asked).items():
            self._fault((*place, name), fault)

    def _engine(self, name: str) -> dict[str, Any]:
        table = self.values[name]
        if not isinstance(table, Mapping):
            self._fault((name,), f"{name} must be a table")
            return {}
        known: Mapping[str, Any] = ENGINES[name]
        self._known((name,), table, tuple(known))
        for key, value in table.items():
            if key in known and (not isinstance(value, known[key]) or value is True):
                self._fault((name, key), f"{key} of {name} cannot be {value!r}")
            elif isinstance(value, int | float) and (value < 0 or (value == 0 and key != "gpus")):
                self._fault((name, key), f"{key} of {name} must be more than 0, got {value!r}")
        return dict(table)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(prompts: str) -> bool:
    """Whether a name of prompts is one of a file, rather than of a data set on the hub."""
    from lensdepth.tasks.files import is_dataset_name

    return looks_like_path(prompts) and not is_dataset_name(prompts)
