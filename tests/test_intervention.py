"""One intervention, against plain hooks and against what is known of each edit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Load
from hypothesis import given
from hypothesis import strategies as st

from lensdepth import (
    DepthModel,
    Intervention,
    intervene,
    load_task,
    logit_lens,
    pair_task,
    polar,
)
from lensdepth.edits import at_random, norm_towards, strong_edit, towards, with_noise
from lensdepth.hooks import SiteEdit
from lensdepth.intervention import EDITS, map_positions
from lensdepth.site import Stream, depth_hook, site_hook

BASE, SOURCE = "Two months from May is", "Two months from June is"


@pytest.fixture(scope="module")
def swapped(trained: DepthModel) -> Intervention:
    return intervene(trained, BASE, SOURCE, depth=1, positions=[-2, -1], window=(0, 2))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gpt_neox"])
@pytest.mark.parametrize("stream", ["resid_pre", "mlp_out", "z"])
def test_runs_are_those_of_plain_hooks(
    load_tiny: Load, architecture: str, backend: str, stream: Stream
) -> None:
    """Every scope, at two tokens, edit by edit in the order of depth."""
    model = load_tiny(architecture, backend)
    head = 1 if stream == "z" else None
    found = intervene(
        model, BASE, SOURCE, depth=1, positions=[2, -1], stream=stream, head=head, edit="direction",
        strength=0.7,
    )  # fmt: skip
    _, edit = strong_edit("direction", 0.7, caller="test")
    batch = model.tokenize(BASE)
    last = model.n_layers - (stream != "resid_pre")
    for run, depths in zip(found.runs, found.edited, strict=True):
        if run == "source" or "control" in run:
            continue
        edits = []
        for depth in depths:
            hook = (
                depth_hook(depth, model.n_layers)
                if stream == "resid_pre"
                else site_hook(stream, depth)
            )
            for position in (2, int(batch.last[0])):
                state = model.activations(SOURCE, [hook], torch.tensor([[position]]))[0, :, 0]
                if head is not None:
                    state = state.unflatten(-1, (model.info.n_heads, -1))[:, head]
                at = torch.tensor([position])
                edits.append(SiteEdit(hook=hook, positions=at, edit=edit, source=state, head=head))
        plain = next(model.run_edits(batch, [edits]))[0, 0].log_softmax(-1)
        torch.testing.assert_close(
            found.log_probs[found.index(run)], plain, atol=1e-4, rtol=1e-4, msg=run
        )
    assert found.edited[found.index("suffix")] == tuple(range(1, last + 1))
    assert found.edited[found.index("window")] == tuple(range(last + 1))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("stream", ["resid_pre", "mlp_out"])
@pytest.mark.parametrize("given_by", ["source", "base"])
def test_a_state_of_any_depth_and_token_is_put_at_any_other(
    load_tiny: Load, architecture: str, backend: str, stream: Stream, given_by: Any
) -> None:
    """Against a hook that does nothing but set a number, which a plain run gave."""
    model = load_tiny(architecture, backend)
    found = intervene(
        model, BASE, "Two months from the June is", depth=2, positions=[3, -1], stream=stream,
        scopes=["local"], given_by=given_by, source_depth=0, source_positions=[1, -2],
    )  # fmt: skip
    giver = BASE if given_by == "base" else "Two months from the June is"
    tokens = model.tokenize(giver)
    given, took = (site_hook(stream, at) for at in (0, 2))
    at = [1, int(tokens.last[0]) - 1]
    states = model.activations(giver, [given], torch.tensor([at]))[0, 0]
    batch = model.tokenize(BASE)

    def put(state: torch.Tensor) -> polar.Edit:
        return lambda found, source: state[None]

    edits = [
        SiteEdit(hook=took, positions=torch.tensor([place]), edit=put(state), source=None)
        for place, state in zip((3, int(batch.last[0])), states, strict=True)
    ]  # fmt: skip
    plain = next(model.run_edits(batch, [edits]))[0, 0].log_softmax(-1)
    torch.testing.assert_close(found.log_probs[found.index("local")], plain, atol=1e-4, rtol=1e-4)
    assert (found.log_probs[0] - plain).abs().max() > 1e-4  # which is no small change
    assert (found.source_depth, found.source_positions) == (0, tuple(at))
    assert found.crosses_depths


def test_what_is_moved_onto_itself_changes_nothing_and_what_is_moved_to_the_end_is_read(
    trained: DepthModel,
) -> None:
    here = intervene(
        trained, BASE, SOURCE, depth=2, positions=[3], scopes=["local"], given_by="base",
        source_depth=2, source_positions=[3],
    )  # fmt: skip
    assert not here.crosses_depths
    assert here.kl[here.index("local")].abs() < 1e-6
    # Nothing comes after the last depth: the lens says what is read of a state there.
    lens = logit_lens(trained, SOURCE, positions="all", top_k=trained.d_vocab)
    read = torch.full((trained.d_vocab,), torch.nan)
    read[lens.top_tokens[1, 0, 4].long()] = lens.top_log_probs[1, 0, 4]
    end = intervene(
        trained, BASE, SOURCE, depth=trained.n_layers, scopes=["local"], source_depth=1,
        source_positions=[4],
    )  # fmt: skip
    torch.testing.assert_close(end.log_probs[end.index("local")], read, atol=1e-4, rtol=1e-4)
    # Named tokens and depth that correspond anyway are what is done without them.
    usual = intervene(trained, BASE, SOURCE, depth=1, positions=[-1])
    named = intervene(trained, BASE, SOURCE, depth=1, positions=[-1], source_positions=[-1])
    assert named.to_frame().equals(usual.to_frame())


def test_a_state_moves_within_one_prompt_without_any_other(
    trained: DepthModel, tmp_path: Path
) -> None:
    options: Any = {"depth": 3, "scopes": ["local"], "given_by": "base", "source_depth": 1}
    alone = intervene(trained, BASE, answers=("March", "July"), **options)
    beside = intervene(trained, BASE, SOURCE, answers=("March", "July"), **options)
    assert alone.runs == ("base", "local", "local control")
    assert beside.runs == ("base", "source", "local", "local control")
    for run in alone.runs:
        one, other = alone.index(run), beside.index(run)
        torch.testing.assert_close(alone.log_probs[one], beside.log_probs[other])
        torch.testing.assert_close(alone.effect[one], beside.effect[other])
    assert alone.transferred.isnan().all()
    assert beside.transferred[2].isfinite()
    assert alone.kl[1] > 1e-3
    alone.save(tmp_path / "found.safetensors")
    again = Intervention.load(tmp_path / "found.safetensors")
    assert (again.given_by, again.source_depth, again.source_positions) == ("base", 1, (5,))


def test_the_ends_hold_by_construction(trained: DepthModel) -> None:
    last = intervene(trained, BASE, SOURCE, depth=trained.n_layers, scopes=["local"])
    assert last.transferred[last.index("local")] == pytest.approx(1, abs=1e-4)
    assert last.angle_to_source[last.index("local"), -1] < 1e-3
    assert last.reads_edit == ("local",)
    every = intervene(trained, BASE, SOURCE, depth=1)
    assert every.reads_edit == ("suffix", "window")
    assert intervene(trained, BASE, SOURCE, depth=1, positions=[-2]).reads_edit == ()
    assert intervene(trained, BASE, SOURCE, depth=1, edit="norm").reads_edit == ()
    nothing = intervene(trained, BASE, SOURCE, depth=1, strength=0.0)
    for scope in nothing.scopes:
        assert nothing.kl[nothing.index(scope)].abs() < 1e-5
        assert nothing.angle_from_base[nothing.index(scope)].abs().max() < 1e-3


def test_the_trajectory_strays_from_the_edited_depth_on(swapped: Intervention) -> None:
    local = swapped.index("local")
    assert swapped.angle_from_base[local, 0] < 1e-6
    assert swapped.angle_from_base[local, 1] > 0.01
    assert swapped.angle_progress[local, 1] == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(
        swapped.angle_progress[swapped.index("source"), 1:],
        torch.ones(swapped.n_layers),
        atol=1e-3,
        rtol=0,
    )


def test_the_control_turns_as_far_as_the_edit(swapped: Intervention) -> None:
    local, control = swapped.index("local"), swapped.index("local control")
    torch.testing.assert_close(
        swapped.angle_from_base[control, 1], swapped.angle_from_base[local, 1], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        swapped.norm[control, 1], swapped.norm[local, 1], atol=1e-3, rtol=1e-4
    )
    assert swapped.angle_to_source[control, 1] > 0.01 > swapped.angle_to_source[local, 1]


@given(share=st.floats(0, 1.5), seed=st.integers(0, 99))
def test_a_control_has_the_edit_s_angle_and_norm(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    base, source = torch.randn(2, 3, 16, generator=generator)
    edit = towards(share)
    put = edit(base, source)
    control = at_random(edit)(base, with_noise(source, generator))
    torch.testing.assert_close(
        polar.angle(base, control), polar.angle(base, put), atol=2e-3, rtol=1e-3
    )
    torch.testing.assert_close(polar.norm(control), polar.norm(put), atol=1e-4, rtol=1e-4)


@given(share=st.floats(0, 1.5))
def test_the_norm_moves_along_the_direction_found(share: float) -> None:
    base, source = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    put = norm_towards(share)(base, source)
    torch.testing.assert_close(polar.norm(put), torch.tensor([5 + share * 5]))
    torch.testing.assert_close(polar.direction(put), polar.direction(base))


@pytest.mark.parametrize("edit", sorted(EDITS))
def test_every_edit_runs_at_its_ends(trained: DepthModel, edit: str) -> None:
    task = load_task("months", trained, n=6)
    kind = EDITS[edit]
    reference = task if kind.needs == "reference" else None
    for strength in (kind.low, kind.high, None):
        found = intervene(
            trained, BASE, SOURCE, depth=1, edit=edit, strength=strength, reference=reference
        )
        assert found.log_probs.exp().sum(-1).sub(1).abs().max() < 1e-4
        assert any("control" in run for run in found.runs) == kind.turns
    assert found.strength == kind.default


def test_scaling_needs_no_source_and_cannot_matter_at_the_end(trained: DepthModel) -> None:
    found = intervene(trained, BASE, depth=trained.n_layers, edit="scale", strength=3.0)
    assert "source" not in found.runs
    assert found.target is None
    # The model ends in an RMS norm, which takes every scale away.
    assert found.kl[found.index("local")].abs() < 1e-4
    assert found.norm[found.index("local"), -1] == pytest.approx(
        3 * float(found.norm[0, -1]), rel=1e-4
    )
    assert found.angle_to_source.isnan().all()


def test_prompts_of_other_lengths_line_up_where_they_can(trained: DepthModel) -> None:
    longer = "Two months from the month after June is"
    last_words = intervene(trained, BASE, longer, depth=2, positions=[-1])
    assert last_words.transferred.isfinite().any()
    with pytest.raises(ValueError, match=r"token 5 of the base prompt \('month'\) has no counter"):
        intervene(trained, "Two months from the month June after is", BASE, depth=2, positions=[5])


@pytest.mark.parametrize(
    ("base", "source", "positions", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 9, 4], [0, 2, 3], [0, 2, 3]),
        ([1, 2, 3, 4], [1, 2, 7, 8, 9, 4], [1, 2, 3], [1, 4, 5]),
        ([1, 7, 8, 9, 4], [1, 2, 4], [1, 2, 3, 4], [None, None, 1, 2]),
        ([1, 2, 3], [1, 3], [1, 2], [None, 1]),
        ([1, 3], [1, 2, 3], [0, 1], [0, 2]),
        ([5, 5, 5], [5, 5], [0, 1, 2], [0, 1, None]),
    ],
)
def test_which_token_stands_for_which(
    base: list[int], source: list[int], positions: list[int], expected: list[int | None]
) -> None:
    assert map_positions(base, source, positions) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 9}, "depth must lie in 0...3, got 9"),
        ({"depth": 3, "stream": "mlp_out"}, "block must lie in 0...2, got 3"),
        ({"depth": 1, "window": (2, 1)}, "window must be a first and a last depth within 0...3"),
        ({"depth": 1, "edit": "twist"}, "edit must be one of full, direction"),
        ({"depth": 1, "strength": 7.0}, "from 0 to 1.5, got 7.0"),
        ({"depth": 1, "positions": [99]}, "99 lies outside prompt 0"),
        ({"depth": 1, "positions": [-1, 5]}, "each once"),
        ({"depth": 1, "scopes": []}, "scopes must be some of local"),
        ({"depth": 1, "edit": "mean"}, "needs reference prompts"),
        ({"depth": 1, "head": 1}, "heads are patched at stream='z'"),
        ({"depth": 1, "source_depth": 2}, "source_depth goes with scopes=.'local',."),
        ({"depth": 1, "source_depth": 4, "scopes": ["local"]}, "source_depth must lie in 0...3"),
        ({"depth": 1, "source_positions": [1, 2]}, "one token for each of the 1 positions, got 2"),
        ({"depth": 1, "source_positions": [99]}, "99 lies outside prompt 0"),
        ({"depth": 1, "given_by": "base", "edit": "scale"}, "'scale' takes no states of a run"),
        ({"depth": 1, "given_by": "me"}, "given_by must be"),
    ],
)
def test_what_does_not_fit_is_said(
    trained: DepthModel, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        intervene(trained, BASE, SOURCE, **options)


def test_an_edit_that_needs_a_source_says_so(trained: DepthModel) -> None:
    with pytest.raises(ValueError, match="'full' needs a source prompt"):
        intervene(trained, BASE, depth=1)


def test_it_saves_and_draws(swapped: Intervention, tmp_path: Path) -> None:
    swapped.save(tmp_path / "found.safetensors")
    again = Intervention.load(tmp_path / "found.safetensors")
    assert again.to_frame().equals(swapped.to_frame())
    assert again.edited == swapped.edited
    assert len(swapped.trajectory_frame()) == len(swapped.runs) * (swapped.n_layers + 1)
    trajectory: Any = swapped.plot()
    assert len(trajectory.data) > 8
    drawn: Any = swapped.plot_predictions()
    assert [bar.name for bar in drawn.data] == [
        "base", "here", "from here on", "whole window", "source",
    ]  # fmt: skip


def test_answers_may_be_named(trained: DepthModel) -> None:
    found = intervene(trained, BASE, SOURCE, depth=1, answers=("March", "April"))
    assert found.text(found.foil) == "April"
    with pytest.raises(ValueError, match="is not one token"):
        intervene(trained, BASE, SOURCE, depth=1, answers=("March hare", "April"))


def test_a_pair_is_a_task_with_the_models_own_answers(trained: DepthModel) -> None:
    task = pair_task(SOURCE, BASE, trained)
    top = trained.logits([SOURCE, BASE])[:, 0].argmax(-1)
    assert task.target_ids is not None
    assert task.foil_ids is not None
    assert [int(task.target_ids[0]), int(task.foil_ids[0])] == top.tolist()
    assert task.inputs == ("June",)
    assert pair_task(SOURCE, BASE, trained, target="March", foil="May").target == ("March",)
    with pytest.raises(ValueError, match="both prompts are answered by"):
        pair_task(SOURCE, SOURCE + " ", trained, target="May", foil="May")
