"""Steering: against plain hooks, disjoint centroids, matched controls, errors with their rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lensdepth import DepthModel, Task, find_crossing, load_task, polar, steering_sweep
from lensdepth.hooks import SiteEdit
from lensdepth.passes import Passes
from lensdepth.provenance import Backend
from lensdepth.site import depth_hook
from lensdepth.steering import SteeringProfile
from lensdepth.steering.labels import (
    centroid_sizes,
    deal_folds,
    label_prompts,
    members,
    pool_prompts,
)
from lensdepth.sweep.roles import assign_roles
from lensdepth.transition import find_steering_crossing

POSITIONS = ("input", "prediction")


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=60, template=["from", "after"], keep="correct")


@pytest.fixture(scope="module")
def profile(trained: DepthModel, months: Task) -> SteeringProfile:
    return steering_sweep(trained, months)


def place_of(model: DepthModel, text: str, word: str) -> int:
    return [token.strip() for token in model.str_tokens(text)].index(word)


def centroid_differences(
    model: DepthModel, task: Task, found: SteeringProfile, pair: int, position: str, depth: int
) -> torch.Tensor:
    """The slow way, with strings: means over prompts in other folds than the pair's."""
    assert task.corrupted is not None
    assert task.inputs is not None
    assert task.corrupted_inputs is not None
    assert task.target is not None
    assert task.foil is not None
    p = found.positions.index(position)
    prompts: dict[str, tuple[str, str, int]] = {}
    for i in range(len(task)):
        for text, label, answer, fold in (
            (task.corrupted[i], task.corrupted_inputs[i], task.foil[i], found.folds[0, i]),
            (task.clean[i], task.inputs[i], task.target[i], found.folds[1, i]),
        ):  # fmt: skip
            prompts[text] = (label, answer, int(fold))
    ends = []
    for name in (found.base_label, found.source_label):
        wanted = found.labels[p][int(name[p, pair])]
        texts = [
            text
            for text, (label, answer, fold) in prompts.items()
            if (label if position == "input" else answer) == wanted
            and fold not in found.folds[:, pair].tolist()
        ]
        assert task.clean[pair] not in texts
        assert task.corrupted[pair] not in texts
        words = [prompts[text][0] for text in texts]
        at = [
            [place_of(model, text, word)] if position == "input" else [-1]
            for text, word in zip(texts, words, strict=True)
        ]
        states = model.residual_stream(texts, torch.tensor(at)).resid[depth, :, 0]
        assert len(texts) == int(found.centroid_sizes[p, len(ends), pair])
        ends.append(states.mean(0))
    return ends[1] - ends[0]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("edit", ["full", "direction", "norm"])
@pytest.mark.parametrize("scope", ["local", "suffix"])
def test_it_is_what_plain_hooks_do(
    trained: DepthModel,
    months: Task,
    profile: SteeringProfile,
    position: str,
    edit: str,
    scope: str,
) -> None:
    pair, depth = 7, 2
    text = months.corrupted[pair]  # type: ignore[index]
    last = trained.n_layers
    word = months.corrupted_inputs[pair]  # type: ignore[index]
    at = place_of(trained, text, word) if position == "input" else -1
    function = {
        "full": polar.add(),
        "direction": polar.keep_norm(polar.add()),
        "norm": polar.keep_direction(polar.add()),
    }[edit]
    reached = [depth] if scope == "local" else list(range(depth, last + 1))
    edits = [
        SiteEdit(
            hook=depth_hook(d, last),
            positions=torch.tensor([at]),
            edit=function,
            source=centroid_differences(trained, months, profile, pair, position, d)[None],
        )
        for d in reached
    ]
    logits = next(trained.run_edits(trained.tokenize(text), [edits]))[0, 0]
    genuine = trained.log_probs(months.clean[pair])[0, 0]
    target, foil = int(months.target_ids[pair]), int(months.foil_ids[pair])  # type: ignore[index]

    def read(metric: str) -> float:
        found = profile.of(metric, position=position, edit=edit, scope=scope)
        return found[pair, depth].item()

    assert read("logit_diff") == pytest.approx(float(logits[target] - logits[foil]), abs=2e-3)
    assert read("answer_probability") == pytest.approx(float(logits.softmax(-1)[target]), abs=1e-3)
    assert read("success") == float(logits.argmax() == target)
    kl = (genuine.exp() * (genuine - logits.log_softmax(-1))).sum()
    assert read("kl_to_source") == pytest.approx(float(kl), abs=2e-3, rel=1e-3)


def test_no_centroid_holds_a_prompt_that_it_steers(trained: DepthModel, months: Task) -> None:
    roles = assign_roles(months, "noise", positions=POSITIONS, caller="test")
    labels = [label_prompts(months, roles, p, None, caller="test") for p in POSITIONS]
    pool = pool_prompts(roles)
    assert len(pool) == len({*months.clean, *months.corrupted})  # type: ignore[misc]
    folds = deal_folds(months, pool, labels, n_folds=6, seed=3, caller="test")
    for labelled in labels:
        has = members(pool, labelled)
        sizes = centroid_sizes(pool, labelled, folds)
        assert sizes.min() >= 1
        for pair in range(len(months)):
            mine = folds[[int(pool.base[pair]), int(pool.source[pair])]]
            away = ~torch.isin(folds, mine)
            assert not away[pool.base[pair]]
            assert not away[pool.source[pair]]
            assert int(has[away][:, labelled.base[pair]].sum()) == int(sizes[0, pair])
            assert int(has[away][:, labelled.source[pair]].sum()) == int(sizes[1, pair])
        # Balanced: a label's prompts are spread over the folds.
        per_fold = torch.stack([has[folds == f].sum(0) for f in range(6)])
        assert (per_fold.amax(0) - per_fold.amin(0)).max() <= 3


def test_controls_have_the_norm_of_what_they_stand_beside(
    trained: DepthModel, months: Task
) -> None:
    few = steering_sweep(trained, months, budget=0.5, scopes=("local",))
    expected = 0.5 * few.state_norm.expand_as(few.vector_norm)
    moved = few.vector_norm > 0
    torch.testing.assert_close(few.vector_norm[moved], expected[moved], rtol=1e-4, atol=1e-5)
    # One wording: the last token's embedding is the same for every label.
    assert not moved[:, 0, 1].any()
    assert moved[..., 0].all()
    still = few.of("kl_to_source", position="prediction", edit="random", scope=None)[:, 0]
    torch.testing.assert_close(still, few.base_kl_to_source, atol=1e-4, rtol=1e-4)
    other = few.of("logit_diff", position="input", edit="random", scope=None)[:, 1]
    assert not torch.allclose(
        other, few.of("logit_diff", position="input", edit=None, scope=None)[:, 1], atol=1e-2
    )


def test_a_shuffled_control_leads_to_another_label(trained: DepthModel, tmp_path: Path) -> None:
    """At each position by its own labels: here all pairs lead to the same input, not answer."""
    counts = ("One", "Two", "Three", "Four", "Five")
    answers = ("April", "May", "June", "July", "August")
    rows = [
        row("January", "March", beta, ("March", answer))
        for beta, answer in zip(counts, answers, strict=True)
    ]
    rows += [row("January", "March", "Six", ("July", "September"))]
    task = load_task(written(tmp_path / "p.csv", rows), trained)
    found = steering_sweep(trained, task, positions=("input",), scopes=("local",))
    assert (
        found.of("answer_probability", position="input", edit="shuffled", scope=None).isnan().all()
    )
    assert (
        found.of("answer_probability", position="input", edit="random", scope=None).isfinite().all()
    )


def test_a_sustained_budget_is_divided_among_the_depths(trained: DepthModel, months: Task) -> None:
    last = trained.n_layers
    whole = steering_sweep(trained, months, budget=0.6, scopes=("local", "suffix"))
    # At the last depth both scopes are one run.
    torch.testing.assert_close(
        whole.of("logit_diff", position="prediction", scope="suffix", edit=None)[:, last],
        whole.of("logit_diff", position="prediction", scope="local", edit=None)[:, last],
    )


def test_strength_zero_changes_nothing_and_its_sign_turns_the_way(
    trained: DepthModel, months: Task, profile: SteeringProfile
) -> None:
    none = steering_sweep(trained, months, strength=0.0, scopes=("local",))
    torch.testing.assert_close(
        none.of("kl_to_source", position="input", edit=None, scope=None),
        none.base_kl_to_source[:, None].expand(-1, trained.n_layers + 1),
        atol=1e-4,
        rtol=1e-4,
    )
    away = steering_sweep(trained, months, strength=-1.0, scopes=("local",))
    towards = profile.of("logit_diff", position="prediction", edit=None, scope=None)[:, -1].mean()
    assert (
        away.of("logit_diff", position="prediction", edit=None, scope=None)[:, -1].mean() < towards
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_other_architectures_and_noising(
    load_tiny: Callable[[str, str], DepthModel], backend: Backend, architecture: str
) -> None:
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=80, on_multi_token="drop")
    every: dict[str, Any] = {"mode": "noise", "control_pairs": "all"}
    found = steering_sweep(model, task, engine="replay", **every)
    plain = steering_sweep(model, task, engine="hooks", depths=[1], **every)
    torch.testing.assert_close(
        found.logit_diff[..., 1, :], plain.logit_diff[..., 0, :], atol=2e-4, rtol=1e-4
    )
    assert found.of("logit_diff", position="input", edit=None, scope=None).isfinite().all()
    at_end = found.of("kl_to_source", position="input", edit=None, scope=None)[:, -1]
    torch.testing.assert_close(at_end, found.base_kl_to_source, atol=1e-4, rtol=1e-4)


def test_blocks_of_pairs_give_the_same_numbers(
    trained: DepthModel,
    months: Task,
    profile: SteeringProfile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lensdepth.sweep.blocks.STATE_BYTES", 20_000)
    again = steering_sweep(trained, months)
    torch.testing.assert_close(again.logit_diff, profile.logit_diff, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(again.kl_to_source, profile.kl_to_source, atol=1e-3, rtol=1e-3)


def test_label_columns_may_be_named(trained: DepthModel, months: Task) -> None:
    named = steering_sweep(
        trained, months, input_label="alpha", output_label="gamma", scopes=("local",)
    )
    plain = steering_sweep(trained, months, scopes=("local",))
    torch.testing.assert_close(named.logit_diff, plain.logit_diff)
    assert named.provenance.settings["input_label"] == "alpha"


def test_find_crossing_reads_the_profile(profile: SteeringProfile) -> None:
    whole = find_crossing(profile, n_resamples=50)
    same = find_steering_crossing(profile, n_resamples=50)
    assert same is not None
    assert (whole.verdict, whole.depth) == (same.verdict, same.depth) or whole.depth != whole.depth
    assert whole.provenance is profile.provenance is same.provenance
    norm = find_steering_crossing(profile, edit="norm", n_resamples=50)
    assert norm is not None
    assert norm.verdict == "none"


def test_frame_save_load_and_figure(profile: SteeringProfile, tmp_path: Path) -> None:
    frame = profile.to_frame()
    assert len(frame) == profile.success.numel()
    row = frame[
        (frame.edit == "norm")
        & (frame.scope == "suffix")
        & (frame.position == "prediction")
        & (frame.depth == 2)
        & (frame.pair == 5)
    ]
    e, p = profile.edits.index("norm"), profile.positions.index("prediction")
    assert row["kl_to_source"].item() == profile.kl_to_source[e, 1, 5, 2, p].item()
    assert row["source_label"].item() == profile.labels[p][int(profile.source_label[p, 5])]
    profile.save(tmp_path / "s.safetensors")
    assert SteeringProfile.load(tmp_path / "s.safetensors").to_frame().equals(frame)
    for edit in profile.edits:
        assert profile.plot(edit=edit, scope="suffix").data
    with pytest.raises(ValueError, match="edit 'mean' was not steered"):
        profile.efficacy("input", edit="mean")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": float("nan")}, "strength must be a number between"),
        ({"budget": -1.0}, "above 0, got -1.0"),
        ({"n_folds": 2}, "n_folds must be at least 3"),
        ({"depths": [4]}, "between 0 and 3"),
        ({"positions": ()}, "positions must be some of input, prediction"),
        ({"input_label": "colour"}, "no label column 'colour'; it has alpha"),
        ({"input_label": "beta"}, "no label column 'corrupted_beta'"),
    ],
)
def test_bad_options_are_refused_before_any_forward_pass(
    trained: DepthModel,
    months: Task,
    monkeypatch: pytest.MonkeyPatch,
    options: dict,
    said: str,
) -> None:
    monkeypatch.setattr(Passes, "forward", lambda *_: pytest.fail("a forward pass ran"))
    with pytest.raises(ValueError, match=said):
        steering_sweep(trained, months, **options)


def written(path: Path, rows: list[str], *, columns: str = "") -> Path:
    head = "clean,corrupted,target,foil,input,corrupted_input" + columns
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def row(alpha: str, other: str, beta: str = "Two", answers: tuple[str, str] = ("March", "May")):
    return (
        f"{beta} months from {alpha} is,{beta} months from {other} is,{answers[0]},{answers[1]},"
        f"{alpha},{other}"
    )


def test_labels_of_one_prompt_are_named_with_their_rows(
    trained: DepthModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row("January", "March"),
        row("January", "March", "Four", ("May", "July")),
        row("January", "June", "Two", ("March", "August")),
    ]
    task = load_task(written(tmp_path / "p.csv", rows), trained)
    monkeypatch.setattr(Passes, "forward", lambda *_: pytest.fail("a forward pass ran"))
    with pytest.raises(ValueError, match="at the input position a label of line 4 has no other"):
        steering_sweep(trained, task)


def test_labels_that_both_prompts_have_are_named_with_their_rows(
    trained: DepthModel, tmp_path: Path
) -> None:
    rows = [row("January", "March") + ",a,b", row("May", "July", "One") + ",a,a"]
    path = written(tmp_path / "p.csv", rows, columns=",kind,corrupted_kind")
    task = load_task(path, trained)
    with pytest.raises(ValueError, match=r"the same label at the input position in line 3 \('a'\)"):
        steering_sweep(trained, task, input_label="kind")


def test_centroids_that_coincide_everywhere_are_named_with_their_rows(
    trained: DepthModel, months: Task
) -> None:
    """One wording at depth 0: the last token's embedding tells nothing."""
    alike = months.select((months.labels.template == "from").to_numpy())
    with pytest.raises(ValueError, match=r"coincide at the prediction position.*\(in pair \d+"):
        steering_sweep(trained, alike, depths=[0], scopes=("local",))


def test_a_foil_equal_to_the_target_and_answers_of_several_tokens_never_get_so_far(
    trained: DepthModel, tmp_path: Path
) -> None:
    same = written(tmp_path / "s.csv", [row("January", "March", answers=("May", "May"))])
    with pytest.raises(ValueError, match="the same answer in line 2"):
        load_task(same, trained)
    long = written(tmp_path / "l.csv", [row("January", "March", answers=("March is", "May"))])
    with pytest.raises(ValueError, match=r"'March is' \(line 2"):
        load_task(long, trained)
