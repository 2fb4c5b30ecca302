"""Kill sweeps at random moments, go on with them, and compare with one that nobody disturbed.

    python -m tests.swept FOLDER

runs `lensdepth sweep` in forked children, so that each begins with everything imported, and strikes
them with SIGKILL and SIGTERM after random times: several times in a row each, then it lets the last
one finish. It prints a JSON object: what the strikes left, and what they must not have left. It is
a process of its own, without threads, because a fork takes along one thread alone.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from lensdepth.cli import main
from lensdepth.scale import Sweep

SEED = 0
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
CHAINS, STRIKES = 12, 3
"""Sweeps, and how often each is struck: once with every signal and one more."""
CONFIG = """
pairs_per_shard = 3
[[models]]
model = "tiny"
[[tasks]]
task = "months"
n = 24
[[tasks]]
task = "capitals"
n = 12
keep = "correct"
[[analyses]]
analysis = "lens"
"""


def child(config: Path, folder: Path) -> int:
    """The process of a run, which says what it says into a file beside its folder."""
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        said = os.open(folder.with_suffix(".said"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(said, 2)
        sys.stderr = os.fdopen(2, "w")
        code = main(["sweep", str(config), "--out", str(folder), "--json-log", str(log)])
        sys.stderr.flush()
        if code == 0:
            folder.with_suffix(".modules").write_text(json.dumps(sorted(sys.modules)))
    finally:
        os._exit(code)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def wait_for(n: int, process: int, folder: Path) -> None:
    """Until a run has told of so many events, or is over."""
    while len(events(folder)) < n and not os.waitid(os.P_PID, process, ENDED):
        time.sleep(0.002)


def state(folder: Path) -> tuple[int, int, int]:
    """Receipts, parts without one, and other files among the parts."""
    parts = [p for p in (folder / "parts").rglob("*") if p.is_file()]
    receipts = {p.with_suffix("") for p in parts if p.suffix == ".json"}
    tables = {p.with_suffix("") for p in parts if p.suffix == ".parquet"}
    others = [p for p in parts if p.suffix not in (".json", ".parquet")]
    return len(receipts), len(tables - receipts), len(others)


def events(folder: Path) -> list[dict[str, Any]]:
    log = folder.with_suffix(".log")
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def strike_all(root: Path) -> dict[str, Any]:
    """Every chain."""
    torch.set_num_threads(1)
    config, rng = root / "s.toml", random.Random(SEED)
    config.write_text(CONFIG)
    wrong: list[str] = []
    tally: Counter[str] = Counter()
    for name in ("first", "whole"):
        start = time.monotonic()
        assert ended(child(config, root / name)) == 0, (root / f"{name}.said").read_text()
        longest = time.monotonic() - start
        for module in json.loads((root / f"{name}.modules").read_text()):
            with suppress(Exception):  # once, before the other forks
                import_module(module)
    total = len(Sweep.open(root / "whole").shards)
    Sweep.open(root / "whole").write_table(root / "whole.parquet")
    whole = (root / "whole.parquet").read_bytes()
    for chain in range(CHAINS):
        folder = root / f"chain {chain}"
        known = 0
        for strike in range(STRIKES):
            number = (signal.SIGKILL, signal.SIGTERM)[(chain + strike) % 2]
            case = f"chain {chain}, strike {strike}, {number.name}"
            process = child(config, folder)
            # Any event of the run that is still to come, the start too, and a moment after it.
            wait_for(rng.randint(0, max(1, total - known)), process, folder)
            time.sleep(rng.uniform(0, longest / total))
            with suppress(ProcessLookupError):
                os.kill(process, number)
            code = ended(process)
            receipts, bare, others = state(folder)
            said = folder.with_suffix(".said").read_text()
            tally[f"{number.name}: {'over' if code == 0 else 'struck'}"] += 1
            tally["in flight"] += bare + others
            if bare > 1 or others > 1:
                wrong.append(f"{case}: {bare} parts without receipt, {others} half written")
            if receipts < known:
                wrong.append(f"{case}: {known} shards were done, and now {receipts}")
            if number is signal.SIGTERM and code not in (0, 143):
                wrong.append(f"{case}: exit code {code}, said {said!r}")
            begun = folder.with_suffix(".log").exists()  # before that there was nothing to stop
            if code == 143 and begun and (said.count("stopped") != 1 or "goes on" not in said):
                wrong.append(f"{case}: said {said!r}")
            known = receipts
        code = ended(child(config, folder))
        if code:
            said = folder.with_suffix(".said").read_text()
            wrong.append(f"chain {chain}: exit code {code}, said {said!r}")
            continue
        made = [event for event in events(folder) if event["event"] == "shard"]
        if len(made) != total - known:
            wrong.append(f"chain {chain}: {len(made)} of {total - known} shards made")
        if state(folder) != (total, 0, 0):
            wrong.append(f"chain {chain}: left {state(folder)}")
        Sweep.open(folder).write_table(root / "chain.parquet")
        if (root / "chain.parquet").read_bytes() != whole:
            wrong.append(f"chain {chain}: another table")
    return {"strikes": CHAINS * STRIKES, "tally": tally, "wrong": wrong}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(strike_all(Path(sys.argv[1]))))
