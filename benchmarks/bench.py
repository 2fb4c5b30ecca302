"""Parts of a benchmark on one device: timed, counted, printed and written as they come."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.large import Sizes, counted
from lensdepth.model import DepthModel


@dataclass(kw_only=True)
class Bench:
    """A model on a device, and what was found of it so far."""

    shape: str
    device: str
    peak: float
    """TFLOP/s of the card, by its data sheet."""
    until: float
    """When no further part is begun."""
    sizes: Sizes
    out: Path | None
    result: dict[str, Any] = field(default_factory=dict)

    def synchronize(self) -> None:
        """Wait until the device is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """What some work gives, and its seconds."""
        self.synchronize()
        start = time.perf_counter()
        found = work()
        self.synchronize()
        return found, time.perf_counter() - start

    def keep(self, name: str, entry: dict[str, Any]) -> None:
        """Print what was found, and write all there is so far."""
        self.result.setdefault("parts", {})[name] = entry
        said = ", ".join(f"{key} {_short(value)}" for key, value in entry.items())
        print(f"{name}: {said}", flush=True)
        self.write()

    def write(self) -> None:
        """The file, whole."""
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            partial = self.out.with_suffix(".partial")
            partial.write_text(json.dumps(self.result, indent=1) + "\n")
            partial.replace(self.out)

    def part(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """One part, whose error is its own."""
        if time.perf_counter() > self.until:
            self.keep(name, {"left_out": "the time was up"})
            return
        try:
            entry = work()
        except Exception as error:  # the others go on
            said = (str(error).strip().splitlines() or [""])[0][:300]
            entry = {"error": f"{type(error).__name__}: {said}"}
        self.keep(name, entry)

    def analysis(self, model: DepthModel, context: float, work: Callable[[], Any]) -> dict:
        """Time an analysis, and hold it against what it has to compute."""
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with counted(model) as count:
            _, seconds = self.timed(work)
        tflop = count.flops(self.sizes, context) / 1e12
        peak = torch.cuda.max_memory_allocated() / 2**30 if self.device != "cpu" else None
        return {
            "seconds": seconds,
            "runs": count.tally.runs,
            "block_tokens": count.block_tokens,
            "tokens_per_second": count.block_tokens / self.sizes.n_layers / seconds,
            "whole_readouts": count.whole,
            "tflop": tflop,
            "tflop_per_second": tflop / seconds,
            "share_of_peak": tflop / seconds / self.peak,
            "peak_gib": peak,
        }


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
