"""Do the tests bite? One thing of a module is changed at a time, and its tests run on that.

    python tools/mutants.py metrics polar --n 60 --seed 0

Changes are cosmic-ray's. A change that the tests fail on is killed, and so is one with which they
take several times as long; what survives shows what no test asks for, or what makes no difference.
Every library is imported once, and each mutant gets a fork of that process, in which an import hook
gives the changed source: nothing of it is written to a file. Per part, out/mutants/PART.json has
what was changed and which test noticed it.
"""

import argparse
import gc
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType

import pytest
from mutations import Key, Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lensdepth"
OUT = ROOT / "out" / "mutants"
LIBRARIES = (
    *("datasets", "hypothesis.extra.numpy", "jaxtyping", "numpy", "pandas", "plotly.graph_objects"),
    *("ruptures", "sklearn.linear_model", "tokenizers", "torch", "transformer_lens"),
    *("transformers", "typer"),
)
"""What takes long to import; lensdepth is not among them, so that each fork reads the mutant."""
PARTS = {
    "metrics": ("metrics.py", ""),
    "polar": ("polar.py", ""),
    "stats": ("stats.py covariance.py", ""),
    "outcome": ("outcome.py", "told"),
    "transition": ("transition/*.py", "handover gap landmarks told"),
    "claims": (
        "claims/*.py",
        "judging contrasts estimates evidence hypotheses places readiness twins",
    ),
    "replay": ("replay/*.py", "replay_plan attention standing tally threads"),
}
"""Its files, and the tests that belong to it beside tests/test_PART.py."""
SLOWER = 4
"""A mutant with which the tests take so many times as long, and half a minute, is killed."""
WORDS = ("-x", "-q", "-p", "no:cacheprovider", "-n", "0", "--jaxtyping-packages=")
MOST_BYTES = 16 * 2**30


class _Changed(SourceFileLoader):
    """Reads a module's file and runs another source."""

    source = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)


class _Hook:
    """Finds that one module before the usual finders do."""

    def __init__(self, path: Path, source: str) -> None:
        self.name, self.path, self.source = _module(path), path, source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = _Changed(name, str(self.path))
        loader.source = self.source
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


class _Watch:
    """Notes the first test that fails, or the file that could not be imported, and what each took.

    Quick tests of a file run first, so that most mutants are killed at once.
    """

    def __init__(self, took: Mapping[str, float], met: set[tuple[str, str]] | None) -> None:
        self.failed, self.before, self.took = "", took, dict[str, float]()
        self.met, self.file = met, ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.file = f"tests/{item.path.name}"
        if self.met is not None:
            sys.setprofile(self._note)
        try:
            return (yield)
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and self.met is not None:
            self.met.add((self.file, frame.f_code.co_filename))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        files = list(dict.fromkeys(item.path for item in items))
        items.sort(key=lambda i: (files.index(i.path), self.before.get(i.nodeid, 0.0)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"import of {report.nodeid}"


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files_of_tests(part: str) -> list[str]:
    """The files of tests that belong to a part, its own first."""
    return [f"tests/test_{name}.py" for name in (part, *PARTS[part][1].split())]


def trial(
    tests: Sequence[str], hook: _Hook | None, limit: float, took: Mapping[str, float]
) -> tuple[str, dict[str, float], dict[str, list[str]]]:
    """Run tests in a fork of this process.

    Returns:
        What failed ("" where nothing did), how long each test took, and, without a hook, which
        files of tests call into which file of the package.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            if hook:
                sys.meta_path.insert(0, hook)  # type: ignore[arg-type]
            met: set[tuple[str, str]] = set()
            watch = _Watch(took, None if hook else met)
            code = int(pytest.main([*WORDS, *tests], plugins=[watch]))
            failed = (watch.failed or f"exit code {code}") if code else ""
            calling: dict[str, list[str]] = {}
            for test, file in sorted(met):
                if file.startswith(str(PACKAGE)):
                    calling.setdefault(file, []).append(test)
            with os.fdopen(theirs, "w") as pipe:
                json.dump((failed, watch.took, calling), pipe)
        finally:
            os._exit(0)
    os.close(theirs)
    answer, end, told = ("time", {}, {}), time.monotonic() + limit, b""
    while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (more := os.read(ours, 2**16)):
            answer = tuple(json.loads(told or '["the end of the process", {}, {}]'))
            break
        told += more
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)
    return answer


def measure(part: str, *, n: int, seed: int, again: bool) -> list[Mutant]:
    """Mutants of a part and what came of them; `again`: those that survived the last time.

    Raises:
        SystemExit: its tests fail as they are.
    """
    failed, took, calling = trial(files_of_tests(part), None, 1800, {})
    if failed:
        sys.exit(f"{part}: the tests fail on the unchanged source: {failed}")
    whole = sum(took.values())
    print(f"{part}: its tests take {whole:.0f} s", flush=True)
    file = OUT / f"{part}.json"
    old = [Mutant(**one) for one in json.loads(file.read_text())["mutants"]] if again else []
    wanted = {one.key for one in old if not one.by}
    found, done = dict[Key, Mutant](), old
    OUT.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for pattern in PARTS[part][0].split() for path in PACKAGE.glob(pattern))
    for one, path, source in mutants(paths, seed, wanted) if wanted or not again else ():
        tests = [x for x in files_of_tests(part) if x in calling.get(str(path), [x])]
        by, *_ = trial(tests, _Hook(path, source), 30 + SLOWER * whole, took)
        found[one.key] = replace(one, by=by)
        if not by:
            print(f"{one.module}:{one.line} {one.operator}\n  - {one.was}\n  + {one.became}")
        done = [found.get(one.key, one) for one in old] or list(found.values())
        told = {"part": part, "seed": seed, "mutants": [vars(m) for m in done]}
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        if len(found) == n and not again:
            break
    return done


def main() -> None:
    """Measure the parts named, all by default, and print how many mutants were killed."""
    parser = argparse.ArgumentParser(description=__doc__, usage="mutants.py [PART ...] [options]")
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART")
    parser.add_argument("--n", type=int, default=60, help="mutants of each part")
    parser.add_argument("--seed", type=int, default=0, help="of their choice")
    parser.add_argument("--again", action="store_true", help="only those that survived last time")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    # Examples are the same for every mutant, and none is kept for the next.
    os.environ |= {"CI": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    from scipy.stats import binomtest

    for name in LIBRARIES:
        importlib.import_module(name)
    if any(name.partition(".")[0] == "lensdepth" for name in sys.modules):
        sys.exit("mutants: lensdepth is imported already, so that no fork would read a mutant.")
    gc.freeze()
    lines = []
    for part in options.parts:
        found = measure(part, n=options.n, seed=options.seed, again=options.again)
        killed = sum(bool(one.by) for one in found)
        ends = binomtest(killed, len(found)).proportion_ci(method="wilson")
        lines.append(
            f"{part:12}{killed:4} of {len(found):3}  {killed / len(found):4.0%}"
            f" ({ends.low:.0%} to {ends.high:.0%})"
        )
        print(lines[-1], flush=True)
    print("", *lines, sep="\n")


if __name__ == "__main__":
    main()
