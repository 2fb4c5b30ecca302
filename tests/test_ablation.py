"""Direction and norm edits: against plain hooks, identities, matched controls, scopes, doses."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lensdepth import DepthModel, Task, ablation_sweep, dose_response, load_task, patch_sweep, polar
from lensdepth.ablation import AblationProfile, DoseProfile
from lensdepth.ablation.given import partners, random_turn, reference_means, strangers
from lensdepth.ablation.profile import named_effect
from lensdepth.coordinates import Coordinates
from lensdepth.edits import edit_of
from lensdepth.hooks import SiteEdit
from lensdepth.passes import Passes
from lensdepth.plotting import layout_of
from lensdepth.provenance import Backend
from lensdepth.site import depth_hook
from lensdepth.sweep.choices import scope_depths
from lensdepth.sweep.roles import assign_roles
from lensdepth.sweep.spans import resolve_spans

ARCHITECTURES = ("llama", "gpt2", "gemma2", "gpt_neox")


@pytest.fixture(scope="module")
def profile(trained: DepthModel, capitals: Task) -> AblationProfile:
    return ablation_sweep(trained, capitals)


@pytest.fixture(scope="module")
def everywhere(trained: DepthModel, capitals: Task) -> AblationProfile:
    return ablation_sweep(
        trained,
        capitals,
        positions=("prediction", "input", -2),
        scopes=("local", "suffix", "prefix", "all"),
    )


def by_hand(
    model: DepthModel, task: Task, edits: list[tuple[int, polar.Edit, torch.Tensor]]
) -> torch.Tensor:
    """Logit difference of one run of plain hooks at the prediction position, denoising."""
    assert task.corrupted_tokens is not None
    assert task.target_ids is not None
    assert task.foil_ids is not None
    sites = [
        SiteEdit(
            hook=depth_hook(depth, model.n_layers),
            positions=task.corrupted_tokens.last,
            edit=edit,
            source=source,
        )
        for depth, edit, source in edits
    ]
    logits = next(model.run_edits(task.corrupted_tokens, [sites]))[:, 0]
    rows = torch.arange(len(task))
    return logits[rows, task.target_ids] - logits[rows, task.foil_ids]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scope", ["local", "suffix", "prefix", "all"])
def test_each_edit_is_what_plain_hooks_do(
    load_tiny: Callable[[str, str], DepthModel],
    backend: Backend,
    architecture: str,
    scope: str,
) -> None:
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=5, on_multi_token="drop")
    found = ablation_sweep(model, task, scopes=(scope,), depths=[1])  # type: ignore[arg-type]
    states = model.residual_stream(task.clean_tokens).resid[:, :, 0]
    reached = scope_depths(scope, 1, model.n_layers)  # type: ignore[arg-type]
    for name in ("full", "direction", "norm"):
        plain = by_hand(model, task, [(d, edit_of(name), states[d]) for d in reached])
        torch.testing.assert_close(
            found.logit_diff[found.edits.index(name), 0, :, 0, 0], plain, atol=2e-4, rtol=1e-4
        )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_under_a_final_norm_the_norm_cannot_matter_at_depth_l(
    load_tiny: Callable[[str, str], DepthModel], backend: Backend, architecture: str
) -> None:
    """LayerNorm and RMSNorm divide the norm out up to their epsilon (DESIGN, point 12)."""
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=5, on_multi_token="drop")
    for coordinates in ("raw", "final_norm"):
        found = ablation_sweep(model, task, coordinates=coordinates)
        assert found.identity_depth() == model.n_layers
        assert found.identity_error() < 1e-3
        full, direction = (found.of(e, found.logit_diff)[:, -1] for e in ("full", "direction"))
        torch.testing.assert_close(direction, full, atol=1e-3, rtol=1e-3)
    centred = ablation_sweep(model, task, coordinates="centred", depths=[model.n_layers])
    assert centred.identity_depth() is None
    moved = centred.effect("logit_diff", edit="norm", scope=None, position=None)
    assert moved.abs().max() > 10 * found.identity_error()


def test_the_full_edit_is_patching(
    trained: DepthModel, capitals: Task, everywhere: AblationProfile
) -> None:
    patched = patch_sweep(trained, capitals, positions=("prediction", "input", -2), controls=()).of(
        "logit_diff"
    )
    for i, position in enumerate(everywhere.positions):
        torch.testing.assert_close(
            everywhere.of("logit_diff", edit="full", position=position, scope=None),
            patched[..., i],
            atol=1e-4,
            rtol=1e-4,
        )


def test_full_is_direction_then_norm(trained: DepthModel, capitals: Task) -> None:
    """In one run at one depth, with the mean state of a reference set."""
    roles = assign_roles(capitals, "denoise", positions=("prediction",), caller="test")
    span = resolve_spans(roles, ("prediction",), caller="test")[0]
    hooks = [depth_hook(2, trained.n_layers)]
    means = reference_means(trained, roles, hooks, span, Coordinates(), polar_mean=True)
    mean = means.polar.expand(len(capitals), -1)
    both = by_hand(trained, capitals, [(2, polar.direction_swap, mean), (2, polar.norm_swap, mean)])
    found = ablation_sweep(trained, capitals, to="mean", depths=[2])
    torch.testing.assert_close(
        found.of("logit_diff", edit="full", scope=None, position=None)[:, 0],
        both,
        atol=1e-4,
        rtol=1e-4,
    )
    assert found.n_reference == means.n == len(capitals)


def test_means_are_spherical_for_directions_and_plain_for_norms(
    trained: DepthModel, capitals: Task
) -> None:
    roles = assign_roles(capitals, "denoise", positions=("prediction",), caller="test")
    span = resolve_spans(roles, ("prediction",), caller="test")[0]
    hooks = [depth_hook(d, trained.n_layers) for d in (1, 3)]
    means = reference_means(trained, roles, hooks, span, Coordinates(), polar_mean=True)
    states = trained.residual_stream(capitals.clean_tokens).resid[[1, 3], :, 0]
    torch.testing.assert_close(means.state, states.mean(1))
    for depth in range(2):
        torch.testing.assert_close(
            polar.direction(means.polar[depth]), polar.spherical_mean(states[depth])
        )
        torch.testing.assert_close(polar.norm(means.polar[depth]), polar.norm(states[depth]).mean())


def test_means_may_come_from_other_prompts(trained: DepthModel, capitals: Task) -> None:
    some, others = capitals.select(slice(0, 6)), capitals.select(slice(6, None))
    own = ablation_sweep(trained, some, to="mean", depths=[2])
    given = ablation_sweep(trained, some, to="mean", depths=[2], reference=others)
    assert given.n_reference == len(others)
    assert not torch.allclose(own.logit_diff[0], given.logit_diff[0])
    assert given.provenance.settings["reference"]["name"] == others.name
    assert own.provenance.settings["reference"] != given.provenance.settings["reference"]
    assert ablation_sweep(trained, some, depths=[2]).provenance.settings["reference"] is None
    with pytest.raises(ValueError, match="the mean over 1 pair is its own source"):
        ablation_sweep(trained, some.select([0]), to="mean")
    with pytest.raises(TypeError, match="reference must be a Task"):
        inspect.unwrap(ablation_sweep)(trained, some, to="mean", reference="months")


def test_controls_are_matched(trained: DepthModel, capitals: Task) -> None:
    """What the controls put in is as far away, and as long, as what the edits put in."""
    y = torch.randn(3, 4, 1, 16, generator=torch.Generator().manual_seed(0))
    theta = torch.rand(3, 4, 1) * 3
    theta[0, 0] = 0.0
    noise = torch.randn_like(y)
    for without_mean in (False, True):
        coordinates = Coordinates(without_mean=without_mean)
        inside = coordinates.inner(y)
        turned = random_turn(inside, theta, noise, coordinates)
        torch.testing.assert_close(polar.angle(inside, turned), theta, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(polar.norm(turned), polar.norm(inside))
        torch.testing.assert_close(coordinates.inner(turned), turned, atol=1e-5, rtol=1e-5)
    for to, controls in (("source", 3), ("mean", 3), ("shuffled", 3), ("random", 0)):
        found = ablation_sweep(trained, capitals, to=to, depths=[2])  # type: ignore[arg-type]
        assert len(found.controls) == controls


@pytest.mark.parametrize("to", ["source", "shuffled"])
def test_the_norm_of_a_control_is_another_prompts(
    trained: DepthModel, capitals: Task, to: str
) -> None:
    """Neither the pair's own source, nor the one whose state the edit takes, nor a copy of them."""
    twice = capitals.select([*range(len(capitals)), *range(len(capitals))])
    roles = assign_roles(twice, "denoise", positions=("prediction",), caller="test")
    span = resolve_spans(roles, ("prediction",), caller="test")[0]
    partner = partners(roles, span, 0) if to == "shuffled" else None
    other = strangers(roles, span, 0, partner)
    assert other.min() >= 0
    prompts = [twice.clean[i] for i in other.tolist()]
    assert all(theirs != own for theirs, own in zip(prompts, twice.clean, strict=True))
    if partner is not None:
        taken = [twice.clean[i] for i in partner.tolist()]
        assert all(theirs != own for theirs, own in zip(prompts, taken, strict=True))
    few = twice.select([0, len(capitals)])
    alone = ablation_sweep(trained, few, depths=[2])
    assert alone.of("kl", edit="random_norm", scope=None, position=None).isnan().all()
    assert alone.of("kl", edit="norm", scope=None, position=None).isfinite().all()


def test_shuffled_edits_take_other_pairs_states(trained: DepthModel, capitals: Task) -> None:
    found = ablation_sweep(trained, capitals, to="shuffled", depths=[trained.n_layers])
    control = patch_sweep(
        trained, capitals, positions=("prediction",), depths=[trained.n_layers]
    ).of("logit_diff", control="shuffled_source")
    torch.testing.assert_close(
        found.of("logit_diff", edit="full", scope=None, position=None),
        control[..., 0],
        atol=1e-4,
        rtol=1e-4,
    )


def test_scopes_agree_where_they_are_the_same_run(everywhere: AblationProfile) -> None:
    values = everywhere.logit_diff
    local, suffix, prefix, whole = values.unbind(1)
    torch.testing.assert_close(prefix[..., 0, :], local[..., 0, :])
    torch.testing.assert_close(suffix[..., -1, :], local[..., -1, :])
    torch.testing.assert_close(suffix[..., 0, :], whole[..., 0, :])
    torch.testing.assert_close(prefix[..., -1, :], whole[..., 0, :])
    assert (whole == whole[..., :1, :]).all()
    # A full swap leaves nothing of earlier ones at the same position.
    torch.testing.assert_close(prefix[0, ..., 0], local[0, ..., 0], atol=1e-4, rtol=1e-4)


def test_identity_and_what_is_judged(everywhere: AblationProfile) -> None:
    last = everywhere.n_layers
    assert everywhere.identity_depth(scope="suffix", position="prediction") == last
    assert everywhere.identity_depth(scope="prefix", position="prediction") is None
    assert everywhere.identity_depth(scope="local", position="input") == last
    assert everywhere.identity_depth(scope="local", position="-2") == last
    assert everywhere.at_end == ("always", "never", "never")
    at_last = replace(everywhere, at_end=("sometimes", "never", "never"))
    assert at_last.identity_depth(scope="local", position="prediction") is None
    assert everywhere.judged(position="input") == list(range(last))
    at_input = everywhere.effect("logit_diff", edit="full", position="input", scope=None)
    assert at_input[:, -1].abs().max() == 0
    frame = everywhere.compare_parts(n_resamples=50)
    assert set(frame[frame.identity].depth) == {last}


def test_parts_are_compared_pair_by_pair(profile: AblationProfile) -> None:
    frame = profile.compare_parts(n_resamples=200).set_index(["quantity", "depth"])
    means = {
        part: profile.of(part, profile.transferred).mean(0)
        for part in ("full", "direction", "norm", "random_norm")
    }
    for depth in range(profile.n_layers + 1):
        full, direction, norm, control = (float(mean[depth]) for mean in means.values())
        expected = {
            "difference": direction - norm,
            "interaction": full - direction - norm,
            "norm_over_control": norm - control,
        }
        for quantity, value in expected.items():
            got, low, high = (frame[end][(quantity, depth)] for end in ("value", "low", "high"))
            assert got == pytest.approx(value, abs=1e-5, nan_ok=True)
            if not math.isnan(value):
                assert low - 1e-9 <= got <= high + 1e-9
    changes = {part: profile.of(part, profile.effect("logit_diff")).mean(0) for part in means}
    way = (profile.source_logit_diff - profile.base_logit_diff).mean()
    for depth in (2, 3):
        share = changes["direction"][depth] / changes["full"][depth]
        got = frame["value"][("direction_share", depth)]
        assert got == pytest.approx(float(share), abs=1e-5)
        got = frame["value"][("full_of_means", depth)]
        assert got == pytest.approx(float(changes["full"][depth] / way), abs=1e-5)
    with pytest.raises(ValueError, match="effect must be one of"):
        inspect.unwrap(named_effect)(profile.outcome, "size")


def test_equal_states_at_depth_0_leave_every_edit_without_effect(
    profile: AblationProfile,
) -> None:
    """The prompts end in the same token, so its embedding is its own source."""
    assert profile.angle[:, 0, 0].abs().max() < 1e-5
    assert profile.kl[:, 0, :, 0, 0].abs().max() < 1e-5


def test_the_random_direction_is_seeded_and_does_not_depend_on_the_batch(
    trained: DepthModel,
    capitals: Task,
    profile: AblationProfile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lensdepth.sweep.blocks.STATE_BYTES", 40_000)
    again = ablation_sweep(trained, capitals, max_memory=100_000)
    other = ablation_sweep(trained, capitals, seed=1)
    torch.testing.assert_close(again.logit_diff, profile.logit_diff, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.angle, profile.angle)
    i = profile.edits.index("random_direction")
    assert not torch.allclose(other.logit_diff[i], profile.logit_diff[i])


def test_means_do_not_depend_on_blocks(
    trained: DepthModel, capitals: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ablation_sweep(trained, capitals, to="mean", coordinates="final_norm")
    monkeypatch.setattr("lensdepth.sweep.blocks.STATE_BYTES", 5_000)
    parts = ablation_sweep(trained, capitals, to="mean", coordinates="final_norm")
    torch.testing.assert_close(whole.logit_diff, parts.logit_diff, atol=1e-4, rtol=1e-4)


def test_one_pair_has_no_other_pairs_norm(trained: DepthModel, capitals: Task) -> None:
    one = capitals.select([0])
    alone = ablation_sweep(trained, one)
    assert "random_norm" not in alone.edits
    with pytest.raises(ValueError, match="'random_norm' was not made"):
        alone.of("kl", edit="random_norm", scope=None, position=None)
    assert alone.compare_parts().low.isna().all()
    for to in ("shuffled", "random"):
        with pytest.raises(ValueError, match="there is 1 pair"):
            ablation_sweep(trained, one, to=to)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "zero"}, "to must be one of source, mean, shuffled, random, got 'zero'"),
        ({"coordinates": "polar"}, "coordinates must be one of raw, centred, final_norm"),
        ({"scopes": ("here",)}, "scopes must be some of local, suffix, prefix, all"),
        ({"scopes": ()}, "scopes must be some of"),
        ({"scopes": "local"}, "scopes must be some of"),
        ({"depths": [9]}, "depths must lie between 0 and 3"),
        ({"depths": 2}, "a list of different whole numbers"),
        ({"depths": [1.0]}, "a list of different whole numbers"),
        ({"depths": [1, 1]}, "a list of different whole numbers"),
        ({"positions": ("middle",)}, "positions are named input or prediction"),
        ({"positions": (99,)}, "outside every prompt"),
        ({"to": "mean", "coordinates": "centred"}, "directions cancel and have no mean"),
    ],
)
def test_bad_options_are_refused_before_any_forward_pass(
    trained: DepthModel,
    capitals: Task,
    monkeypatch: pytest.MonkeyPatch,
    options: dict,
    said: str,
) -> None:
    monkeypatch.setattr(Passes, "forward", lambda *_: pytest.fail("a forward pass ran"))
    unchecked = inspect.unwrap(ablation_sweep)  # as it runs for those who test nothing
    with pytest.raises(ValueError, match=said):
        unchecked(trained, capitals, **options)


def test_frame_save_and_load(everywhere: AblationProfile, tmp_path: Path) -> None:
    frame = everywhere.to_frame()
    assert len(frame) == everywhere.logit_diff.numel()
    row = frame[
        (frame.edit == "norm")
        & (frame.scope == "prefix")
        & (frame.position == "input")
        & (frame.depth == 2)
        & (frame.pair == 4)
    ]
    e, s, p = (
        everywhere.edits.index("norm"),
        everywhere.scopes.index("prefix"),
        everywhere.positions.index("input"),
    )
    assert row["kl"].item() == everywhere.kl[e, s, 4, 2, p].item()
    assert row["angle"].item() == everywhere.angle[4, 2, p].item()
    everywhere.save(tmp_path / "a.safetensors")
    assert AblationProfile.load(tmp_path / "a.safetensors").to_frame().equals(frame)
    for effect in ("transferred", "logit_diff", "kl", "flip", "success"):
        assert everywhere.plot(effect, scope="all", position="input").data  # type: ignore[arg-type]


# ---------------------------------------------------------------- dose and response


@pytest.fixture(scope="module")
def dosed(trained: DepthModel, capitals: Task) -> DoseProfile:
    return dose_response(trained, capitals)


def test_the_ends_of_the_dose_are_the_base_and_the_swap(
    dosed: DoseProfile, profile: AblationProfile
) -> None:
    for depth in range(dosed.n_layers + 1):
        doses, moved = dosed.curve("direction", dosed.logit_diff, depth)
        assert doses.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
        torch.testing.assert_close(moved[:, 0], dosed.base_logit_diff, atol=1e-4, rtol=1e-4)
        swap = profile.of("logit_diff", edit="direction", scope=None, position=None)[:, depth]
        torch.testing.assert_close(moved[:, -1], swap, atol=1e-3, rtol=1e-3)
        factors, scaled = dosed.curve("norm", dosed.kl, depth)
        assert scaled[:, factors == 1].abs().max() < 1e-5
        _, control = dosed.curve("random_direction", dosed.kl, depth)
        assert control[:, 0].abs().max() < 1e-5


def test_at_depth_l_no_factor_of_the_norm_does_anything(dosed: DoseProfile) -> None:
    _, scaled = dosed.curve("norm", dosed.kl, dosed.n_layers)
    assert scaled.abs().max() < 1e-3
    _, before = dosed.curve("norm", dosed.kl, 1)
    assert before.abs().max() > 1e-3


def test_a_dose_is_what_plain_hooks_do(trained: DepthModel, capitals: Task) -> None:
    found = dose_response(trained, capitals, angles=(0.3,), factors=(3.0,), depths=[2])
    source = trained.residual_stream(capitals.clean_tokens).resid[2, :, 0]
    turned = by_hand(trained, capitals, [(2, polar.rotate_part(0.3), source)])
    scaled = by_hand(trained, capitals, [(2, polar.scale(3.0), source)])
    for part, plain in (("direction", turned), ("norm", scaled)):
        moved = found.curve(part, found.logit_diff, 2)[1][:, 0]
        torch.testing.assert_close(moved, plain, atol=1e-4, rtol=1e-4)


def test_doses_that_are_none_are_refused(trained: DepthModel, capitals: Task) -> None:
    cases: list[tuple[dict, str]] = [
        ({"angles": (), "factors": ()}, "there is no dose"),
        ({"angles": (-0.5,)}, "0 or more, got -0.5"),
        ({"factors": (0.0,)}, "above 0, got 0.0"),
        ({"factors": (float("nan"),)}, "above 0, got nan"),
    ]
    for options, said in cases:
        with pytest.raises(ValueError, match=said):
            dose_response(trained, capitals, **options)


def test_a_dose_profile_saves_loads_and_draws(dosed: DoseProfile, tmp_path: Path) -> None:
    dosed.save(tmp_path / "d.safetensors")
    frame = dosed.to_frame()
    assert DoseProfile.load(tmp_path / "d.safetensors").to_frame().equals(frame)
    row = frame[(frame.part == "norm") & (frame.dose == 4) & (frame.depth == 1) & (frame.pair == 3)]
    assert row["kl"].item() == dosed.kl[-1, 3, 1].item()
    figure = dosed.plot("kl")
    assert len(layout_of(figure).annotations) > dosed.n_layers
    with pytest.raises(ValueError, match="no dose of 'norm' at depth 7"):
        dosed.curve("norm", dosed.kl, 7)
