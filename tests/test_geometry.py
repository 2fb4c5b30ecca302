"""The profile as a whole: against the residual stream, on both backends, and what is refused."""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lensdepth import DepthModel, geometry_profile, load_task
from lensdepth.geometry import GeometryProfile
from lensdepth.geometry.figures import similarity_map
from lensdepth.geometry.reading import Moments, read_prompts

PROMPTS = ["The capital of France is", "The opposite of hot is", "If it is May now, in"]


@pytest.fixture(scope="module")
def profile(trained: DepthModel) -> GeometryProfile:
    return geometry_profile(trained, load_task("capitals", trained, n=20), n_resamples=100)


def test_norms_turns_and_updates_are_those_of_the_residual_stream(trained: DepthModel) -> None:
    profile = geometry_profile(trained, PROMPTS, n_resamples=20, n_permutations=5)
    resid = trained.residual_stream(PROMPTS).resid[:, :, 0]
    before, after = resid[:-1], resid[1:]
    cosine = torch.cosine_similarity
    torch.testing.assert_close(profile.norm, resid.norm(dim=-1))
    torch.testing.assert_close(profile.growth, after.norm(dim=-1) / before.norm(dim=-1))
    for angle, by_hand in (
        (profile.step_angle, cosine(before, after, dim=-1)),
        (profile.angle_to_final, cosine(resid, resid[-1:], dim=-1)),
        (profile.update_angle, cosine(before, after - before, dim=-1)),
    ):
        torch.testing.assert_close(angle.cos(), by_hand, atol=1e-5, rtol=0)
    by_hand = (after - before).norm(dim=-1) / before.norm(dim=-1)
    torch.testing.assert_close(profile.update, by_hand)
    pairs = cosine(resid[2, [0, 0, 1]], resid[2, [1, 2, 2]], dim=-1).mean()
    assert profile.of("cosine").value[2].item() == pytest.approx(pairs.item(), abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_what_attention_and_mlp_write_makes_the_update(
    architecture: str, load_tiny: Callable[[str, str], DepthModel], backend: str
) -> None:
    model = load_tiny(architecture, backend)
    batch = [[1, 2, 3, 4, 5], [3, 1, 4, 1], [2, 7, 1, 8, 2, 8]]
    profile = geometry_profile(model, batch, n_resamples=2, n_permutations=2)
    before = model.residual_stream(batch).resid[:-1, :, 0]
    total = torch.zeros_like(before)
    for name, write in (("attn_out", profile.attn_write), ("mlp_out", profile.mlp_write)):
        hooks = [f"blocks.{layer}.hook_{name}" for layer in range(model.n_layers)]
        added = model.activations(batch, hooks)[:, :, 0]
        assert write is not None
        torch.testing.assert_close(write, added.norm(dim=-1) / before.norm(dim=-1))
        total += added
    torch.testing.assert_close(total.norm(dim=-1) / before.norm(dim=-1), profile.update)


def test_an_architecture_without_the_hooks_has_no_writes(
    trained: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {k: v for k, v in trained.hook_points.items() if not k.endswith("hook_mlp_out")}
    monkeypatch.setattr(trained, "hook_points", points)
    profile = geometry_profile(trained, PROMPTS, n_resamples=2, n_permutations=2)
    assert profile.mlp_write is None
    assert profile.attn_write is not None
    assert "mlp_write" not in set(profile.to_frame().measure)
    assert profile.plot().data


def test_curvature_goes_over_every_position_but_the_first(trained: DepthModel) -> None:
    prompts = ["The capital of France is", "If it is May now, in", "May"]
    for include_first, first in ((False, 1), (True, 0)):
        profile = geometry_profile(
            trained, prompts, include_first=include_first, n_resamples=2, n_permutations=2
        )
        alone = trained.residual_stream(prompts[1], "all").resid[2, 0, first:].double()
        step = alone.diff(dim=0)
        turn = torch.cosine_similarity(step[:-1], step[1:], dim=-1).clamp(-1, 1).acos()
        assert profile.curvature[2, 1].item() == pytest.approx(turn.mean().item(), abs=1e-5)
        assert profile.curvature[:, 2].isnan().all(), "two tokens make one step"


def test_batches_change_nothing(trained: DepthModel) -> None:
    task = load_task("capitals", trained, n=12)
    whole, parts = (
        geometry_profile(trained, task, n_resamples=10, n_permutations=10, batch_size=size)
        for size in (None, 5)
    )
    a, b = whole.to_frame(), parts.to_frame()
    # A pair of ranks may change places where two distances are equal but for rounding.
    np.testing.assert_allclose(a.value, b.value, atol=2e-3)


def test_streaming_equals_one_shot(trained: DepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = load_task("capitals", trained, n=30).clean_tokens
    chosen = torch.tensor([0, 7, 8, 29])
    whole = read_prompts(trained, batch, batch.last, chosen, include_first=False, batch_size=None)
    monkeypatch.setattr("lensdepth.geometry.reading.NUMBERS_AT_ONCE", 1)
    parts = read_prompts(trained, batch, batch.last, chosen, include_first=False, batch_size=None)
    resid = trained.residual_stream(batch).resid[:, :, 0]
    for reading in (whole, parts):
        torch.testing.assert_close(reading.states, resid[:, chosen], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(reading.mean, resid.double().mean(1), atol=1e-5, rtol=1e-5)
        variance = resid.double().var(1, correction=0)
        torch.testing.assert_close(reading.variance, variance, atol=1e-4, rtol=1e-4)
    for name, values in whole.per_prompt.items():
        torch.testing.assert_close(values, parts.per_prompt[name], atol=1e-4, rtol=1e-4)


def test_moments_hold_against_a_large_mean() -> None:
    x = torch.randn(2, 50, 3, dtype=torch.float64) + 1e6
    moments = Moments()
    for part in x.split([1, 30, 19], dim=1):
        moments.add(part)
    torch.testing.assert_close(moments.mean, x.mean(1))
    torch.testing.assert_close(moments.variance, x.var(1, correction=0), rtol=1e-8, atol=0)


def test_angles_follow_predictions_at_depth_l_of_a_model_that_reads_angles(
    profile: GeometryProfile,
) -> None:
    """Depth 0 is the same token everywhere: no angle, no correlation, no rank."""
    for name in ("angle_js", "effective_rank", "participation_ratio", "two_nn", "norm_js_dcor"):
        assert profile.of(name).value[0].isnan()
    assert profile.cka[0].isnan().all()
    assert profile.of("cosine").value[0] == pytest.approx(1)
    assert profile.of("angle_js").p[0] == 1
    assert profile.angle_js[-1] > 0.3
    last = profile.of("angle_js")
    assert last.p[-1] < 0.05
    assert last.low[-1] < last.value[-1] < last.high[-1]


def test_equal_prompts_are_no_pair(trained: DepthModel) -> None:
    profile = geometry_profile(
        trained, [*PROMPTS, *PROMPTS, "The capital of Italy is"], n_resamples=2, n_permutations=2
    )
    assert profile.coupling_prompts.tolist() == [0, 1, 2, 6]
    assert profile.norm.shape[1] == 7


def test_the_sample_is_drawn_by_the_seed(trained: DepthModel) -> None:
    task = load_task("capitals", trained, n=20)

    def drawn(seed: int) -> list[int]:
        profile = geometry_profile(
            trained, task, sample=9, n_resamples=2, n_permutations=2, seed=seed
        )
        return profile.coupling_prompts.tolist()

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == 9


def test_frame_save_and_load(profile: GeometryProfile, tmp_path: Path) -> None:
    frame = profile.to_frame()
    assert {
        "norm", "norm_spread", "growth", "step_angle", "angle_to_final", "update", "update_angle",
        "attn_write", "mlp_write", "massive", "curvature", "cosine", "centred_cosine",
        "standardized_cosine", "rogue_dimensions", "rogue_share", "effective_rank",
        "participation_ratio", "two_nn", "cka", "procrustes", "angle_js", "norm_js", "distance_js",
        "angle_hellinger", "angle_js_given_norm", "norm_js_given_angle", "angle_js_dcor",
    } <= set(frame.measure)  # fmt: skip
    assert list(frame) == ["depth", "relative_depth", "measure", "value", "low", "high", "p"]
    assert not frame.duplicated(["depth", "measure"]).any()
    for of_block in ("step_angle", "cka"):
        assert frame[frame.measure == of_block].depth.tolist() == [1, 2, 3]
    assert len(profile.map_frame()) == 2 * 4 * 4
    profile.save(tmp_path / "g.safetensors")
    loaded = GeometryProfile.load(tmp_path / "g.safetensors")
    assert loaded.to_frame().equals(frame)
    assert loaded.contexts == profile.contexts


def test_every_known_value_lies_in_its_interval(profile: GeometryProfile) -> None:
    frame = profile.to_frame().dropna(subset=["low", "high"])
    assert (frame.low <= frame.value + 1e-6).all()
    assert (frame.value <= frame.high + 1e-6).all()
    assert set(frame.measure) >= {"norm", "cka", "procrustes", "two_nn", "angle_js", "rogue_share"}


def test_figures(profile: GeometryProfile) -> None:
    panels: Any = profile.plot()
    titles = {trace.name for trace in panels.data}
    assert {"participation ratio", "attention", "standardised"} <= titles
    drawn: Any = profile.plot_map()
    np.testing.assert_allclose(drawn.data[0].z, profile.cka.numpy(), rtol=1e-6)
    assert profile.plot_map("procrustes").data
    with pytest.raises(ValueError, match="cka, procrustes"):
        similarity_map(profile, "norm")
    figure: Any = profile.plot_coupling()
    labels = [step.label for step in figure.layout.sliders[0].steps]
    assert labels == ["0", "1", "2", "3"]
    assert [trace.visible for trace in figure.data] == [False, False, False, True]
    assert f"{float(profile.angle_js[-1]):.2f}" in figure.layout.title.text
    assert "<" not in json.dumps(figure.layout.sliders[0].to_plotly_json())


def test_an_unknown_measure_is_named(profile: GeometryProfile) -> None:
    with pytest.raises(ValueError, match=r"norm, step_angle.*got 'length'"):
        profile.of("length")


def test_what_is_not_a_cloud_is_refused(trained: DepthModel) -> None:
    prompts = ["The capital of France is"] * 4
    cases: list[tuple[dict[str, Any], str]] = [
        ({"prompts": prompts[:2]}, "at least 3 prompts, got 2"),
        ({"prompts": prompts}, "3 prompts that differ up to the token read, got 1 among 4"),
        ({"prompts": prompts, "positions": [0, 1, 1, 1]}, "attention sink"),
        ({"prompts": prompts, "positions": "all"}, "one position a prompt is needed, got 6"),
        ({"prompts": PROMPTS, "sample": 2}, "sample must be at least 3, got 2"),
        ({"prompts": PROMPTS, "n_resamples": 0}, "n_resamples must be at least 1"),
        ({"prompts": PROMPTS, "n_permutations": 0}, "n_permutations must be at least 1"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            geometry_profile(trained, **options)


def test_the_first_position_is_read_when_asked(trained: DepthModel) -> None:
    ids = [[5, 1, 2], [6, 1, 2], [7, 1, 2]]
    profile = geometry_profile(
        trained, ids, positions=[0, 0, 0], include_first=True, n_resamples=2, n_permutations=2
    )
    torch.testing.assert_close(profile.norm, trained.residual_stream(ids, [0] * 3).norms[:, :, 0])


def test_equal_states_give_no_warning(trained: DepthModel) -> None:
    """Prompts that end alike have one state at depth 0, and three are too few for intervals."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = geometry_profile(trained, [*PROMPTS[:2], "A b is"], n_resamples=5).to_frame()
    rank = frame[frame.measure == "effective_rank"].set_index("depth")
    assert math.isnan(rank.value[0])
    assert rank.value[1:].notna().all()
    assert rank.low.isna().all()
