"""One model, many threads: the same numbers as one after another, bit by bit."""

import contextvars
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import architectures
import pytest
import torch
from conftest import Load
from torch import Tensor

from lensdepth import (
    DepthModel,
    ablation_sweep,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
    polar,
)
from lensdepth.hooks import SiteEdit
from lensdepth.passes import lock_of
from lensdepth.replay import replay
from lensdepth.site import site_hook
from lensdepth.tasks import Task

PROMPTS = list(architectures.PROMPTS)
N_THREADS = 4
Call = Callable[[], Tensor]


def steered(model: DepthModel, push: Tensor, depth: int) -> Tensor:
    with model.steer(polar.add(3.0), depths=depth, source=push) as there:
        assert there.info.name.endswith(" (steered)")
        return torch.cat([there.logits(PROMPTS), there.logits(PROMPTS[:1])])


def replayed(model: DepthModel, task: Task) -> Tensor:
    assert task.corrupted_tokens is not None
    batch = task.corrupted_tokens
    edit = SiteEdit(
        hook=site_hook("z", 1), positions=batch.last, edit=polar.scale(2.0), source=None, head=0
    )
    parts = list(replay(model, batch, [[edit], []], engine="replay"))
    order = torch.cat([part.sets * len(batch) + part.prompts for part in parts]).argsort()
    return torch.cat([part.resid for part in parts])[order]


def calls_on(model: DepthModel, task: Task) -> list[Call]:
    """Whatever attaches a hook, reads through one, or runs the model's modules."""
    push = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(len(PROMPTS), dtype=torch.long)
    edit = SiteEdit(
        hook=site_hook("mlp_out", 0), positions=zero, edit=polar.scale(0.0), source=None
    )
    batch = model.tokenize(PROMPTS)
    return [
        lambda: model.logits(PROMPTS),
        lambda: model.residual_stream(PROMPTS, "all").resid,
        lambda: model.activations(PROMPTS, [site_hook("attn_out", 1)], "all"),
        lambda: model.attention(PROMPTS, [0, 1]).nan_to_num(0.0),
        lambda: next(model.run_edits(batch, [[edit]])),
        lambda: model.readout(torch.stack([push, 2 * push])),
        lambda: steered(model, push, 1),
        lambda: steered(model, push, 0),
        lambda: torch.tensor(model.tokenize(model.generate(PROMPTS[0], max_new_tokens=3)).row(0)),
        lambda: replayed(model, task),
        lambda: logit_lens(model, PROMPTS, positions="all").kl.nan_to_num(0.0),
        lambda: patch_sweep(model, task, depths=[0, 2], controls=()).values,
        lambda: patch_sweep(model, task, depths=[1], method="attribution").values,
        lambda: ablation_sweep(model, task, depths=[1]).transferred.nan_to_num(0.0),
    ]


def in_threads(calls: list[Call], n_calls: int) -> list[list[tuple[int, Tensor]]]:
    """What each thread got, its calls in an order of its own."""
    begin = threading.Barrier(N_THREADS)

    def work(seed: int) -> list[tuple[int, Tensor]]:
        order = random.Random(seed).choices(range(len(calls)), k=n_calls)
        begin.wait()
        return [(i, calls[i]()) for i in order]

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(work, range(N_THREADS)))


def test_threads_get_what_one_gets(load_tiny: Load, backend: str) -> None:
    model = load_tiny("llama", backend)
    calls = calls_on(model, load_task("months", model, n=4))
    alone = [call() for call in calls]
    for found in in_threads(calls, n_calls=25):
        for i, value in found:
            torch.testing.assert_close(value, alone[i], atol=0, rtol=0, msg=f"call {i}")
    assert not any(point.fwd_hooks for point in model.hook_points.values())


def test_wrappers_of_one_model_take_turns(load_tiny: Load, backend: str) -> None:
    model = load_tiny("gpt2", backend)
    other = DepthModel(model.model, tokenizer=model.tokenizer)
    assert other.passes.lock is model.passes.lock is lock_of(model.model)
    assert lock_of(load_tiny("llama", backend).model) is not model.passes.lock
    calls: list[Call] = [
        lambda: model.residual_stream(PROMPTS).resid,
        lambda: other.logits(PROMPTS),
        lambda: other.residual_stream(PROMPTS[:2], "all").resid,
    ]
    alone = [call() for call in calls]
    for found in in_threads(calls, n_calls=40):
        assert all(value.equal(alone[i]) for i, value in found)


def test_steering_stays_in_its_context(
    tiny_llama: DepthModel, caplog: pytest.LogCaptureFixture
) -> None:
    model = DepthModel(tiny_llama.model, tokenizer=tiny_llama.tokenizer)
    plain, name = model.logits(PROMPTS), model.info.name
    task = load_task("months", model, n=4)
    replays = replayed(model, task)
    with (
        ThreadPoolExecutor(1) as pool,
        model.steer(polar.scale(3.0), depths=1),
    ):
        mine = model.logits(PROMPTS)
        assert not caplog.records
        assert pool.submit(model.logits, PROMPTS).result().equal(plain)
        assert pool.submit(lambda: model.info.name).result() == name
        # The engine there is not stopped by hooks that do not act there.
        assert pool.submit(replayed, model, task).result().equal(replays)
        assert "steered in another context" in caplog.text
        carried = contextvars.copy_context()
        assert pool.submit(carried.run, model.logits, PROMPTS).result().equal(mine)
        assert pool.submit(carried.run, lambda: model.info.name).result() == f"{name} (steered)"
    assert not mine.equal(plain)
    assert model.logits(PROMPTS).equal(plain)
    assert len(caplog.records) == 1


def test_models_are_loaded_and_measured_at_once(trained: DepthModel, capitals: Task) -> None:
    wanted = patch_sweep(trained, capitals, depths=[1, 2], controls=()).values
    with ThreadPoolExecutor(N_THREADS) as pool:
        loaded = [
            pool.submit(load_model, "tiny", dtype=dtype)
            for dtype in ("float32", "bfloat16", "float16", "bfloat16")
        ]
        found = [
            pool.submit(patch_sweep, trained, capitals, depths=[1, 2], controls=())
            for _ in range(6)
        ]
        assert all(one.result().values.equal(wanted) for one in found)
        dtypes = [one.result().info.dtype for one in loaded]
    assert dtypes == ["float32", "bfloat16", "float16", "bfloat16"]


def test_whoever_waits_for_a_model_gets_it_after_an_error(tiny_llama: DepthModel) -> None:
    def fail(found: Tensor, source: Tensor | None) -> Tensor:
        raise KeyError("on purpose")

    batch = tiny_llama.tokenize(PROMPTS)
    edit = SiteEdit(hook=site_hook("attn_out", 0), positions=batch.last, edit=fail, source=None)
    plain = tiny_llama.logits(PROMPTS)
    with ThreadPoolExecutor(N_THREADS) as pool:
        asked = [pool.submit(lambda: next(tiny_llama.run_edits(batch, [[edit]]))) for _ in range(8)]
        found = [pool.submit(tiny_llama.logits, PROMPTS) for _ in range(8)]
        assert all(isinstance(one.exception(), KeyError) for one in asked)
        assert all(one.result().equal(plain) for one in found)
