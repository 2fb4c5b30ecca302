"""Attention of packed runs: in groups, those of different starts too, and by one fused kernel."""

from typing import Any

import pytest
import torch
from architectures import CONFIGS
from conftest import Load
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.replay import chunk, fused, replay_measure
from lensdepth.replay.attention import AttentionRule, attend
from lensdepth.replay.plan import Engine
from lensdepth.replay.runs import Runs, group_runs
from lensdepth.site import depth_hook

STARTS, STOPS, PROMPTS = [0, 2, 5, 1, 1, 3], [6, 6, 6, 4, 6, 4], [0, 0, 1, 2, 1, 2]
N_POS, HEADS, KV_HEADS, WIDTH = 6, 4, 2, 3


@pytest.fixture
def runs() -> Runs:
    starts, stops, prompts = map(torch.tensor, (STARTS, STOPS, PROMPTS))
    return Runs(
        sets=torch.arange(6), prompts=prompts, starts=starts, stops=stops,
        depths=torch.zeros(6, dtype=torch.long),
    )  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def one_by_one(
    q: Tensor, k: Tensor, v: Tensor, past: tuple[Tensor, Tensor], runs: Runs, rule: AttentionRule,
    asked: Tensor | None,
) -> Tensor:  # fmt: skip
    """Each query by itself, over the keys that it sees, written out."""
    out, row = [], 0
    for run in range(len(runs)):
        start, stop = int(runs.starts[run]), int(runs.stops[run])
        prompt, first = int(runs.prompts[run]), int(runs.offsets[run])
        own = slice(first, first + stop - start)
        keys = torch.cat([past[0][prompt, :start], k[own]])
        values = torch.cat([past[1][prompt, :start], v[own]])
        for position in range(start, stop) if asked is None else asked[run].tolist():
            heads = []
            for head in range(HEADS):
                group = head // (HEADS // KV_HEADS)
                scores = keys[: position + 1, group] @ q[row, head] * rule.scale
                if rule.softcap is not None:
                    scores = rule.softcap * torch.tanh(scores / rule.softcap)
                if rule.bias is not None:
                    scores = scores + rule.bias[head % len(rule.bias), position, : position + 1]
                exps = scores.exp()
                sink = 0.0 if rule.sinks is None else rule.sinks[head].exp()
                heads.append((exps / (exps.sum() + sink)) @ values[: position + 1, group])
            out.append(torch.stack(heads))
            row += 1
    return torch.stack(out)


WINDOW = torch.full((1, N_POS, N_POS), -torch.inf).triu(1) + torch.full(
    (1, N_POS, N_POS), -torch.inf
).tril(-2)
RULES = {
    "plain": AttentionRule(scale=0.7),
    "softcap and sinks": AttentionRule(scale=0.7, softcap=2.0, sinks=drawn(HEADS)),
    "a window": AttentionRule(scale=0.7, bias=WINDOW.nan_to_num(neginf=-torch.inf)),
    "a bias of each head": AttentionRule(
        scale=0.7, bias=drawn(HEADS, N_POS, N_POS) + torch.full((N_POS, N_POS), -torch.inf).triu(1)
    ),
}


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("rule", RULES.values(), ids=[*RULES])
@pytest.mark.parametrize("ragged", [False, True])
def test_every_query_sees_what_it_should(
    runs: Runs, rule: AttentionRule, ragged: bool, some: bool
) -> None:
    asked = torch.stack([runs.starts, runs.stops - 1], dim=1) if some else None
    n_own = int(runs.lengths.sum())
    n_queries = n_own if asked is None else asked.numel()
    q, k, v = (drawn(n, h, WIDTH, seed=i) for i, (n, h) in enumerate(
        ((n_queries, HEADS), (n_own, KV_HEADS), (n_own, KV_HEADS))))  # fmt: skip
    past = drawn(3, N_POS, KV_HEADS, WIDTH, seed=8), drawn(3, N_POS, KV_HEADS, WIDTH, seed=9)
    found = attend(q, k, v, *past, group_runs(runs, asked, ragged=ragged), rule)
    torch.testing.assert_close(found, one_by_one(q, k, v, past, runs, rule, asked))


def kernel(
    q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, longest_q: int,
    longest_k: int, causal: bool, scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What torch's kernel computes on a GPU, sequence by sequence; the lengths must be true."""
    lengths = [ends.diff() for ends in (ends_q, ends_k)]
    assert [int(n.max()) for n in lengths] == [longest_q, longest_k]
    parts = [
        x.float().split(n.tolist())
        for x, n in zip((q, k, v), (lengths[0], lengths[1], lengths[1]), strict=True)
    ]
    out, divisors = [], []
    for mine, *theirs in zip(*parts, strict=True):
        keys, values = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in theirs)
        scores = torch.einsum("qhd,khd->hqk", mine, keys) * scale
        if causal:
            scores = scores + torch.full(scores.shape[1:], -torch.inf).triu(1)
        out.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values))
        divisors.append(scores.logsumexp(-1).T)
    return torch.cat(out).to(q.dtype), torch.cat(divisors)


def test_own_keys_and_past_are_weighed_together(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_kernel", kernel)
    n_own, rule = int(runs.lengths.sum()), RULES["plain"]
    q, k, v = (drawn(n_own, h, WIDTH, seed=i) for i, h in enumerate((HEADS, KV_HEADS, KV_HEADS)))
    past = drawn(3, N_POS, KV_HEADS, WIDTH, seed=8), drawn(3, N_POS, KV_HEADS, WIDTH, seed=9)
    found = fused.attend_fused(
        q, k, v, *past, fused.spans_of(runs.prompts, runs.starts, runs.stops), rule.scale
    )
    torch.testing.assert_close(found, one_by_one(q, k, v, past, runs, rule, None))


def test_the_kernel_is_for_plain_attention_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(fused, "_has_kernel", lambda device: True)
    half, plain = torch.zeros(2, HEADS, 8, dtype=torch.bfloat16), RULES["plain"]
    with torch.no_grad():
        assert fused.fits(half, half, plain)
        assert not any(fused.fits(half, half, rule) for rule in [*RULES.values()][1:])
        assert not fused.fits(half.float(), half.float(), plain)
        assert not fused.fits(half[..., :6], half[..., :6], plain)
        assert not fused.fits(half, half[..., :4], plain)
    with torch.enable_grad():
        assert not fused.fits(half, half, plain)


def test_a_kernel_that_does_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_divisor(*args: Any) -> tuple[Tensor, Tensor]:
        z, divisors = kernel(*args)
        return z, torch.zeros_like(divisors)

    def asked_otherwise(*args: Any) -> tuple[Tensor, Tensor]:
        raise TypeError("unexpected keyword argument 'scale'")

    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    for computes, used in ((kernel, True), (without_divisor, False), (asked_otherwise, False)):
        monkeypatch.setattr(fused, "_kernel", computes)
        fused._has_kernel.cache_clear()
        assert fused._has_kernel(torch.device("cpu")) is used
    fused._has_kernel.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_torchs_kernel_does_what_is_asked_of_it(runs: Runs) -> None:
    n_own, rule, device = int(runs.lengths.sum()), RULES["plain"], torch.device("cuda")
    shapes = [(n_own, HEADS), (n_own, KV_HEADS), (n_own, KV_HEADS), *[(3, N_POS, KV_HEADS)] * 2]
    q, k, v, past_k, past_v = (
        drawn(*shape, 8, seed=i).bfloat16() for i, shape in enumerate(shapes)
    )
    expected = one_by_one(
        q.float(), k.float(), v.float(), (past_k.float(), past_v.float()), runs, rule, None
    )
    with torch.no_grad():
        assert fused.fits(q.to(device), v.to(device), rule)
        found = fused.attend_fused(
            q.to(device), k.to(device), v.to(device), past_k.to(device), past_v.to(device),
            fused.spans_of(runs.prompts, runs.starts, runs.stops).on(device), rule.scale,
        )  # fmt: skip
    torch.testing.assert_close(found.float().cpu(), expected, atol=0.02, rtol=0.02)


def test_ragged_groups_are_fewer(runs: Runs) -> None:
    assert len(group_runs(runs, None)) == 6
    ragged = group_runs(runs, None, ragged=True)
    assert [(g.stop, g.keys.shape) for g in ragged] == [(4, (1, 2, 3)), (6, (2, 2, 6))]
    queries = torch.cat([g.queries.flatten()[g.real] for g in ragged])  # type: ignore[index]
    assert sorted(queries.tolist()) == list(range(int(runs.lengths.sum())))


def sweep(model: DepthModel, engine: Engine) -> Tensor:
    """States of noise at every depth and position of three prompts."""
    generator = torch.Generator().manual_seed(1)
    batch = model.tokenize(torch.randint(3, model.d_vocab, (3, 9), generator=generator))
    sets = [
        [
            SiteEdit(
                hook=depth_hook(depth, model.n_layers),
                positions=torch.tensor([position, 8 - position, 4]),
                edit=polar.full_swap,
                source=drawn(3, model.d_model, seed=10 * depth + position),
            )
        ]
        for depth in range(model.n_layers + 1)
        for position in range(9)
    ]
    columns = torch.tensor([[5, 7]] * 3)
    read = replay_measure(
        model, batch, sets, lambda x, _: {"x": x[:, 0] - x[:, 1]}, columns=columns, engine=engine
    )
    return read["x"]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_sweeps_of_ragged_groups_are_the_same(
    load_tiny: Load, backend: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(architecture, backend)
    asked: list[bool] = []

    def counting(*args: object, ragged: bool, **options: object) -> object:
        asked.append(ragged)
        return group_runs(*args, ragged=ragged, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chunk, "RAGGED", {"cpu"})
    monkeypatch.setattr(chunk, "group_runs", counting)
    found = sweep(model, "replay")
    assert all(asked)
    assert asked
    torch.testing.assert_close(found, sweep(model, "hooks"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama3", "gpt2", "qwen3"])
def test_sweeps_by_the_kernel_are_the_same(
    load_tiny: Load, backend: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(architecture, backend)
    asked: list[int] = []

    def counting(*args: Any) -> tuple[Tensor, Tensor]:
        asked.append(len(args[0]))
        return kernel(*args)

    monkeypatch.setattr(fused, "fits", lambda q, v, rule: rule.bias is None)
    monkeypatch.setattr(fused, "_kernel", counting)
    found = sweep(model, "replay")
    assert 27 in asked  # the base run's tokens
    torch.testing.assert_close(found, sweep(model, "hooks"), rtol=1e-4, atol=1e-4)
