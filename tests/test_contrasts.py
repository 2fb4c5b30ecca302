"""Rotations and stretches by hand, and what they give on models whose code is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lensdepth import load_model, load_task, polar
from lensdepth.claims.context import context_labels
from lensdepth.claims.contrasts import contrast_sweep, rotated
from lensdepth.claims.deals import over_deals
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.gradual import change_width, participation
from lensdepth.claims.medians import median
from lensdepth.claims.norms import shares_told, within
from lensdepth.hooks import SiteEdit
from lensdepth.site import depth_hook
from lensdepth.teaching import planted

PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4)]


def test_a_rotation_leads_the_first_to_the_second_and_leaves_the_rest() -> None:
    a, b, c = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0))
    turned = rotated(a, a, b)
    assert torch.allclose(polar.direction(turned), polar.direction(b), atol=1e-5)
    assert torch.allclose(polar.norm(rotated(c, a, b)), polar.norm(c), rtol=1e-5)
    beside = polar.project_off(polar.project_off(c, a), polar.project_off(b, a))
    assert torch.allclose(rotated(beside, a, b), beside, atol=1e-5)
    assert torch.equal(rotated(c, a, 2 * a), c)
    # Back by the same angle.
    assert torch.allclose(rotated(rotated(c, a, b), b, a), c, atol=1e-4)


def test_a_code_of_orthogonal_answers_is_selective_and_stretches_move_as_far(
    tmp_path: Path,
) -> None:
    model = load_model(planted.switch(tmp_path / "m", n_layers=6, layer=2))
    file = planted.prompt_file(tmp_path / "p.csv", PAIRS, list(range(12)), planted.WORDINGS)
    task = load_task(file, model)
    found = contrast_sweep(model, task)
    late = slice(3, 6)
    assert found.of("turned", "success")[:, late].mean() == 1.0
    assert found.of("misled", "flip")[:, late].mean() < 0.1
    assert found.of("turned", "success")[:, 0].isnan().all()
    # One edit by plain hooks: the base's last state, stretched by the length of the swap.
    depth, corrupted = 4, task.corrupted_tokens
    assert corrupted is not None
    base, source = (
        model.residual_stream(batch).resid[depth, :, 0] for batch in (corrupted, task.clean_tokens)
    )
    moved = (polar.direction_swap(base, source) - base).norm(dim=-1)
    longer = base * (1 + moved / base.norm(dim=-1))[:, None]
    edit = SiteEdit(
        hook=depth_hook(depth, 6), positions=corrupted.last, edit=polar.full_swap, source=longer
    )
    plain, edited = model.run_edits(corrupted, [(), (edit,)])
    entropies = [
        -(x.log_softmax(-1).exp() * x.log_softmax(-1)).sum(-1)[:, 0] for x in (plain, edited)
    ]
    by_hand = entropies[1] - entropies[0]
    assert torch.allclose(found.change("stretched", "entropy")[:, depth], by_hand, atol=1e-4)


def test_the_median_covers_and_a_tie_is_not_exact() -> None:
    rng, hits, n = np.random.default_rng(0), 0, 400
    for _ in range(n):
        one = median(rng.exponential(size=40), ())
        hits += one.low <= np.log(2) <= one.high
    assert 0.91 <= hits / n <= 0.99
    assert median(np.full(40, 0.1), ()).se == pytest.approx(1 / 40)
    assert median(np.array([0.1, np.nan, 0.3, 0.2] * 3), ()).value == 0.2


def test_change_of_either_sign_takes_its_depth() -> None:
    there_and_back = np.array([[0.0, 1, 0, 1, 0]])
    assert change_width(there_and_back) == pytest.approx(0.8)
    one_step = np.array([[0.0, 0, 5, 5, 5], [1.0, 1, 1, 1, 1]])
    assert change_width(one_step)[0] == pytest.approx(0.2)
    assert np.isnan(change_width(one_step)[1])


def test_participation_counts_directions() -> None:
    signs = torch.cat([torch.eye(6), -torch.eye(6)])
    states = torch.stack([torch.ones(12, 6), signs, torch.ones(12, 6) + signs[:, :1]])
    found = participation(states)
    assert found[:, 1] == pytest.approx(6.0)
    # Nothing varies at the first depth, which takes the number of the next.
    assert (found[:, 0] == found[:, 1]).all()


def test_a_mean_over_deals_keeps_the_sampling_error() -> None:
    every = [Estimate(value=v, se=0.1, n=20) for v in (0.2, 0.4, 0.6)]
    found = over_deals([*every, None])
    assert found is not None
    assert (found.found.value, found.deals) == (pytest.approx(0.4), (0.2, 0.6))
    assert found.found.se == pytest.approx(np.sqrt(0.01 + 0.04 / 3))
    assert over_deals([every[0], None]) is None


def test_a_projection_tells_what_a_norm_does_not() -> None:
    rng, n = np.random.default_rng(0), 200
    label = np.arange(n) % 4
    group = np.stack([rng.integers(0, 5, n)] * 2, axis=1)
    told = rng.normal(size=(n, 5, 3))
    told[:, 2, 1] += 3 * label
    found = shares_told(told, {"a": label}, group)
    assert found[1] > 0.8
    assert max(found[0], found[2]) < 0.1
    kind = np.arange(n) % 2  # the label's parity: what it alone says is gone
    assert abs(within(told, kind)[kind == 0].mean(0)).max() < 1e-12


def test_labels_of_the_last_token_are_no_context(tmp_path: Path) -> None:
    """Endings that follow from a label, or a label that follows from the ending."""
    model = load_model(planted.switch(tmp_path / "m", n_layers=6, layer=2))
    lines = ["clean,corrupted,target,foil,input,corrupted_input,ending,half,free"]
    for k, end in enumerate(("is", "from", "out0")):
        for a, b in PAIRS:
            text = f"from {{}} {end}"
            lines.append(
                f"{text.format(f'in{a}')},{text.format(f'in{b}')},out{a},out{b},in{a},in{b},"
                f"e{k},h{k // 2},f{(a + k) % 2}"
            )
    file = tmp_path / "p.csv"
    file.write_text("\n".join(lines) + "\n")
    labels = context_labels(load_task(file, model, n=None))
    assert "free" in labels
    assert not {"ending", "half"} & set(labels)
