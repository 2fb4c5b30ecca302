"""Plain runs that are made once: the same numbers, fewer passes, never those of another model."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
import torch

from lensdepth import (
    DepthModel,
    Task,
    ablation_sweep,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
    polar,
)
from lensdepth import model as model_module
from lensdepth import plain_runs as kept
from lensdepth.passes import Passes
from lensdepth.plain_runs import anew, shared
from lensdepth.replay import ways
from lensdepth.untrained import untrained

Load = Callable[[str, str], DepthModel]


@contextmanager
def passes() -> Iterator[list[int]]:
    """Prompts of every forward pass within."""
    seen: list[int] = []
    forward = Passes.forward

    def counted(self: Passes, tokens: torch.Tensor, cache: Any = None) -> Any:
        seen.append(len(tokens))
        return forward(self, tokens, cache)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Passes, "forward", counted)
        yield seen


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=20)


def test_numbers_are_those_of_each_analysis_by_itself(load_tiny: Load, backend: str) -> None:
    model = load_tiny("llama", backend)
    task = load_task("months", model, n=12, on_multi_token="drop")

    def measured() -> list[torch.Tensor]:
        return [
            patch_sweep(model, task).outcome.values,
            ablation_sweep(model, task, scopes=("local", "all")).outcome.values,
            logit_lens(model, task).kl,
        ]

    alone = measured()
    with shared():
        together = measured()
    for mine, other in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-4, equal_nan=True)


def test_what_was_read_is_not_run_again(trained: DepthModel, months: Task) -> None:
    prompts = months.clean_tokens
    assert months.input_positions is not None
    trained.logits(prompts)  # the first time, the readout is held against the model's own
    positions = torch.stack([months.input_positions, months.prediction_positions], dim=1)
    with shared(), passes() as seen:
        states = trained.residual_stream(prompts, positions).resid
        first = list(seen)
        assert sum(first) == len(prompts)
        # Fewer prompts, in another order, fewer positions, other depths and what follows of them.
        some = torch.tensor([7, 3, 11])
        torch.testing.assert_close(
            trained.residual_stream(prompts[some]).resid[:, :, 0], states[:, some, 1]
        )
        trained.activations(prompts, ["resid_post2", "resid_pre0"], positions)
        trained.logits(prompts)
        assert seen == first
        trained.activations(prompts, ["attn_out1"])
        assert sum(seen) == 2 * len(prompts)
        with anew():
            trained.logits(prompts)
        assert sum(seen) == 3 * len(prompts)
    with passes() as seen:
        trained.logits(prompts)
        assert sum(seen) == len(prompts)


def test_the_base_run_is_recorded_once(
    trained: DepthModel, months: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[int] = []
    record = ways.record
    monkeypatch.setattr(
        ways, "record", lambda *a, **k: recorded.append(len(a[1])) or record(*a, **k)
    )
    with shared():
        ablation_sweep(trained, months, depths=[2, 3])
        once = len(recorded)
        ablation_sweep(trained, months, depths=[2, 3])
        ablation_sweep(trained, months)  # at other depths
        assert len(recorded) == once
        ablation_sweep(trained, months.select(slice(0, 5)))
        assert len(recorded) > once


def test_a_model_that_was_changed_is_run_again(load_tiny: Load, backend: str) -> None:
    model = untrained(load_tiny("llama", backend))  # one of its own, which may be cast
    prompts = [[1, 2, 3], [4, 5, 6]]
    with shared():
        plain = model.logits(prompts)
        for factor in (2.0, 3.0):  # as many functions, and not the same
            with model.steer(polar.scale(factor), depths=1):
                steered = model.logits(prompts)
            with anew(), model.steer(polar.scale(factor), depths=1):
                torch.testing.assert_close(steered, model.logits(prompts))
        torch.testing.assert_close(model.logits(prompts), plain)
        model.to(torch.float64)
        assert not model.logits(prompts).equal(plain)
        other = load_tiny("gpt2", backend)
        assert other.logits(prompts).shape[-1] == other.d_vocab


def test_what_is_kept_is_bounded_and_let_go(
    load_tiny: Load, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny("llama", backend)
    monkeypatch.setattr(kept, "KEPT_BYTES", 0)
    with shared(), passes() as seen:
        model.logits([[1, 2]])
        model.logits([[1, 2]])
        assert len(seen) == 2
    monkeypatch.undo()
    with shared():
        twin = untrained(model, seed=0)
        alive = ref(twin.model)
        twin.logits([[1, 2]])
        del twin
        gc.collect()
        assert alive() is None


def test_weights_are_read_once_in_an_analysis_and_again_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A weight that becomes NaN between two analyses is refused, and is refused again."""
    read: list[int] = []
    check = model_module.check_still_finite
    monkeypatch.setattr(
        model_module, "check_still_finite", lambda *given: (read.append(1), check(*given))
    )
    model = load_model("tiny")
    task = load_task("months", model, n=4)
    patch_sweep(model, task, depths=[0, 1])
    assert len(read) == 1
    with shared():
        patch_sweep(model, task, depths=[0])
        ablation_sweep(model, task, depths=[1])
        assert len(read) == 2
        model.to("float64")
        patch_sweep(model, task, depths=[0])
        assert len(read) == 3
    with torch.no_grad():
        next(model.model.parameters())[0] = torch.nan
    with shared():
        for _ in range(2):
            with pytest.raises(ValueError, match="holds NaN"):
                patch_sweep(model, task, depths=[0])


def test_what_weights_take_follows_a_cast() -> None:
    model = load_model("tiny")
    before = model.passes.n_bytes
    assert before == sum(4 * p.numel() for p in model.model.parameters())
    assert model.to("float64").passes.n_bytes == 2 * before
