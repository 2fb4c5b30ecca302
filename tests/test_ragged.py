"""Attention of runs that start at different positions in one group, as on a GPU."""

import pytest
import torch
from architectures import CONFIGS
from conftest import Load
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.replay import chunk, replay_measure
from lensdepth.replay.attention import AttentionRule, attend
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


def test_ragged_groups_are_fewer(runs: Runs) -> None:
    assert len(group_runs(runs, None)) == 6
    ragged = group_runs(runs, None, ragged=True)
    assert [(g.stop, g.keys.shape) for g in ragged] == [(4, (1, 2, 3)), (6, (2, 2, 6))]
    queries = torch.cat([g.queries.flatten()[g.real] for g in ragged])  # type: ignore[index]
    assert sorted(queries.tolist()) == list(range(int(runs.lengths.sum())))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_sweeps_are_the_same(
    load_tiny: Load, backend: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny(architecture, backend)
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
    monkeypatch.setattr(chunk, "RAGGED", {"cpu"})
    asked: list[bool] = []

    def counting(*args: object, ragged: bool, **options: object) -> object:
        asked.append(ragged)
        return group_runs(*args, ragged=ragged, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chunk, "group_runs", counting)
    columns = torch.tensor([[5, 7]] * 3)
    found, expected = (
        replay_measure(
            model, batch, sets, lambda x, _: {"x": x[:, 0] - x[:, 1]}, columns=columns,
            engine=engine,
        )["x"]
        for engine in ("replay", "hooks")
    )  # fmt: skip
    assert all(asked)
    assert asked
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
