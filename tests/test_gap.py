"""Gaps of control on planted relays: who holds it between, at which depths, in which pairs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lensdepth import (
    DepthModel,
    Task,
    find_crossing,
    find_holder,
    find_steering_crossing,
    load_model,
    load_task,
    patch_sweep,
    steering_sweep,
)
from lensdepth.teaching import planted
from lensdepth.teaching.planted.blank import LENGTH, Architecture, Blank
from lensdepth.teaching.planted.language import INPUTS, OUTPUTS
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.holders import Looked, find_holders
from lensdepth.transition.told import crossing_summary, gap_sentence
from lensdepth.units import Grouping

pytestmark = pytest.mark.long

Move = tuple[int, Sequence[str], Sequence[str]]
"""A block, the words that look, and the words that they look at and take the input from."""
WORDS = ("from", "spare", "is")
N_LAYERS = 8
PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 7)]


def relay(
    folder: Path, moves: Sequence[Move], *, architecture: Architecture = "llama"
) -> DepthModel:
    """Each move hands the input's identity on to other words; input i answers output i."""
    blank = Blank(architecture, N_LAYERS)
    moved = torch.stack([torch.outer(blank.unit[x], blank.unit[x]) for x in INPUTS]).sum(0)
    for block, looking, at in moves:
        others = [word for word in WORDS if word not in looking]
        blank.attend(block, 2 * LENGTH * moved, [(looking, at), (others, ["<bos>"])])
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, blank.unit[given])
    return load_model(blank.save(folder))


def pairs(
    folder: Path, model: DepthModel, wordings: Sequence[str], given: Sequence[str] = ()
) -> Task:
    """Every wording with every pair of inputs; the label `wording` is its number."""
    lines = ["clean,corrupted,target,foil,input,corrupted_input,wording"]
    for i, text in enumerate(wordings):
        word = given[i] if given else "{}"
        for a, b in PAIRS:
            both = [part.format(f"in{x}") for part in (text, word) for x in (a, b)]
            lines.append(",".join([*both[:2], f"out{a}", f"out{b}", *both[2:], f"w{i}"]))
    file = folder / "pairs.csv"
    file.write_text("\n".join(lines) + "\n")
    return load_task(file, model, keep="correct")


def looked_into(model: DepthModel, task: Task) -> Crossing:
    found = find_crossing(patch_sweep(model, task, controls=()), n_resamples=100)
    assert found.verdict == "gap"
    return find_holder(model, task, found)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_relay_rests_at_the_third_token_by_patching_and_by_steering(
    architecture: Architecture, tmp_path: Path
) -> None:
    moves = [(1, ["spare"], INPUTS), (4, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves, architecture=architecture)
    task = pairs(tmp_path, model, planted.FRAMED)
    found = looked_into(model, task)
    assert found.held_by == ("the token 1 place after the input ('out0', 'out1', 'out2', 'out3')")
    assert found.held_by_share == 1.0
    (one,) = found.holders
    assert (one.first, one.last, one.only) == (2.0, 4.0, "")
    assert 0.65 < one.low < one.high == 1.0
    said = gap_sentence(found)
    assert "At depth 2 to 4 control rests on the token 1 place after the input" in said
    assert crossing_summary(found)["held_by"] == found.held_by
    steered = find_steering_crossing(steering_sweep(model, task), n_resamples=100)
    assert steered is not None
    assert steered.verdict == "gap"
    assert "was not looked for" in gap_sentence(steered)
    by_patching = find_holder(model, task, steered)
    assert by_patching.held_by == found.held_by
    assert "By patching whole states there, at depth 2 to 4" in gap_sentence(by_patching)


def test_a_relay_that_ends_in_the_last_block_rests_at_its_third_token(tmp_path: Path) -> None:
    """Depth L decides nothing, but that control is nowhere near until there is measured before."""
    moves = [(1, ["from"], INPUTS), (N_LAYERS - 1, ["is"], ["from"])]
    model = relay(tmp_path / "m", moves)
    task = pairs(tmp_path, model, ["{} from out3 is", "{} from out1 is"])
    found = looked_into(model, task)
    assert found.arrives_last
    assert (found.leaves, found.arrives, found.depths[-1]) == (1.5, 8.0, 7.0)
    assert found.inside_gap.tolist() == [2, 3, 4, 5, 6, 7]
    assert found.held_by == "the token 'from' (1 place after the input)"
    said = gap_sentence(found)
    assert said.startswith(
        "Control leaves the input position between depth 1 and 2 and reaches the prediction "
        "position only in the last block, in half"
    )
    summary = crossing_summary(found)
    assert (summary["verdict"], summary["arrives"]) == ("gap", 8.0)
    assert "At depth 2 to 7 control rests on the token 'from'" in said
    steered = find_steering_crossing(steering_sweep(model, task), n_resamples=100)
    assert steered is not None
    assert (steered.verdict, steered.arrives_last) == ("gap", True)
    coarse = find_crossing(patch_sweep(model, task, depths=[0, 2, 5, 8], controls=()))
    assert coarse.arrives_last
    assert "only after depth 5, in half" in gap_sentence(coarse)
    # Handed over by the last block itself: nobody else holds it.
    direct = relay(tmp_path / "d", [(N_LAYERS - 1, ["is"], INPUTS)])
    found = find_crossing(patch_sweep(direct, pairs(tmp_path, direct, ["{} from out3 is"])))
    assert found.verdict == "none"


def test_a_gap_of_steering_that_left_pairs_out_is_looked_into_on_the_others(
    tmp_path: Path,
) -> None:
    moves = [(1, ["spare"], INPUTS), (4, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves)
    rows = pairs(tmp_path, model, planted.FRAMED).to_frame().to_dict("records")
    # Only one prompt has the word in11.
    kept = [row for row in rows if "in11" not in row["clean"] + row["corrupted"]]
    alone = next(row for row in rows if "in11" in row["clean"])
    task = load_task([*kept, alone], model, n=None, keep="correct")
    steered = find_steering_crossing(steering_sweep(model, task), n_resamples=100)
    assert steered is not None
    assert (steered.verdict, steered.n_pairs) == ("gap", len(kept))
    assert find_holder(model, task, steered).held_by_share == 1.0


def test_two_holders_one_after_the_other_are_named_with_their_depths(tmp_path: Path) -> None:
    moves = [(1, ["from"], INPUTS), (3, ["spare"], ["from"]), (6, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves)
    found = looked_into(model, pairs(tmp_path, model, ["{} from out3 is"]))
    assert found.held_by == (
        "the token 'from' (1 place after the input) at depth 2 to 3, then "
        "the token 'out3' (2 places after the input) at depth 4 to 6"
    )
    assert found.to_frame().loc[0, "held_by"] == found.held_by


def test_a_holder_that_differs_by_label_is_told_with_the_label(tmp_path: Path) -> None:
    moves = [(1, ["from"], INPUTS), (4, ["is"], ["from"])]
    model = relay(tmp_path / "m", moves)
    found = looked_into(model, pairs(tmp_path, model, ["{} from out3 is", "{} out3 from is"]))
    assert [(one.only, one.share) for one in found.holders] == [
        ("wording w0", 1.0), ("wording w1", 1.0),
    ]  # fmt: skip
    assert found.held_by == (
        "the token 'from' (1 place after the input) in pairs of wording w0 and "
        "the token 'from' (2 places after the input) in pairs of wording w1"
    )
    assert "100% (68 to 100%) of the pairs of wording w0" in gap_sentence(found)


def test_what_no_token_holds_alone_is_sought_in_the_shortest_run_of_them(tmp_path: Path) -> None:
    """Three tokens have a third each: two of them are more than the rest."""
    moves = [(1, ["from", "spare"], INPUTS), (4, ["is"], ["from", "spare"])]
    model = relay(tmp_path / "m", moves)
    found = looked_into(model, pairs(tmp_path, model, ["{} from out3 out3 is"]))
    assert found.held_by == (
        "the tokens from 2 places after the input to 3 places after the input, together"
    )
    assert found.held_by_share == 1.0


def test_prompts_of_several_lengths_count_from_the_end(tmp_path: Path) -> None:
    moves = [(1, ["from"], INPUTS), (4, ["is"], ["from"])]
    model = relay(tmp_path / "m", moves)
    task = pairs(tmp_path, model, ["{} from is", "{} out3 from is", "{} out3 out3 from is"])
    found = looked_into(model, task)
    assert found.held_by == "the token 'from' (1 place before the last token)"


def test_words_of_several_tokens_are_looked_at_token_by_token(tmp_path: Path) -> None:
    """The input position is the last token of `X from`, and the answer comes from `out3`."""
    moves = [(0, ["from"], INPUTS), (2, ["spare"], ["from"]), (5, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves)
    task = pairs(tmp_path, model, ["{} from out3 is"], ["{} from"])
    found = looked_into(model, task)
    assert found.leaves == 2.5
    assert found.held_by == "the token 'out3' (1 place after the input)"


def test_a_profile_with_further_positions_names_them_itself(tmp_path: Path) -> None:
    moves = [(1, ["spare"], INPUTS), (4, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves)
    task = pairs(tmp_path, model, ["{} out3 is"])
    found = find_crossing(
        patch_sweep(model, task, positions=("input", "prediction", 2), controls=()),
        n_resamples=100,
    )
    assert (found.verdict, found.held_by) == ("gap", "position 2")


def test_a_crossing_found_elsewhere_is_refused(tmp_path: Path) -> None:
    moves = [(1, ["spare"], INPUTS), (4, ["is"], ["spare"])]
    model = relay(tmp_path / "m", moves)
    task = pairs(tmp_path, model, ["{} out3 is"])
    found = find_crossing(patch_sweep(model, task, mode="noise", controls=()), n_resamples=100)
    with pytest.raises(ValueError, match="the crossing is of mode 'noise'; pass mode='noise'"):
        find_holder(model, task, found)
    with pytest.raises(ValueError, match="the crossing is of other prompts"):
        find_holder(model, task.select(slice(0, 12)), found, mode="noise")
    bare = replace(found, provenance=None)
    with pytest.raises(ValueError, match="of 24 pairs, and the task has 12"):
        find_holder(model, task.select(slice(0, 12)), bare)
    with pytest.raises(ValueError, match="of other depths than the model's"):
        find_holder(model, task, replace(bare, depths=bare.depths / 8))


def looked_at(success: np.ndarray, **options: object) -> list[tuple[str, float, float, str]]:
    looked = Looked(
        success=success.astype(float),
        depths=np.arange(success.shape[1], dtype=float),
        named=lambda place, _: "abcdef"[place],
        tokens=options.pop("tokens", None),  # type: ignore[arg-type]
    )
    found = find_holders(looked, **options)  # type: ignore[arg-type]
    return [(one.name, one.first, one.last, one.only) for one in found]


def test_a_place_that_few_pairs_have_holds_few_pairs() -> None:
    success = np.full((20, 1, 2), np.nan)
    success[:, :, 0] = 0.0
    success[:3, :, 1] = 1.0
    assert looked_at(success) == [("", 0.0, 0.0, "")]


def test_several_tokens_that_each_hold_pairs_of_their_own_are_all_named() -> None:
    success = np.zeros((20, 2, 3))
    success[:9, :, 0] = success[9:18, :, 1] = 1.0
    success[18:, :, 2] = 1.0
    assert looked_at(success) == [("a", 0.0, 1.0, ""), ("b", 0.0, 1.0, "")]


def test_depths_at_which_nobody_holds_are_said_apart() -> None:
    success = np.zeros((20, 3, 2))
    success[:, 0, 0] = success[:, 2, 1] = 1.0
    assert looked_at(success) == [
        ("a", 0.0, 0.0, ""), ("", 1.0, 1.0, ""), ("b", 2.0, 2.0, ""),
    ]  # fmt: skip


def test_two_names_of_one_token_are_one() -> None:
    success = np.ones((20, 1, 2))
    same = np.full((20, 2), 4)
    other = np.array([[4, 5]] * 20)
    assert looked_at(success, tokens=same) == [("a", 0.0, 0.0, "")]
    assert looked_at(success, tokens=other) == [("a", 0.0, 0.0, ""), ("b", 0.0, 0.0, "")]


def test_a_label_is_named_where_it_says_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    named = 0
    for seed in range(60):
        success = (rng.random((24, 1, 3)) < 0.35).astype(float)
        label = Grouping(name="kind", values=tuple(rng.permutation(["x", "y", "z"] * 8)))
        named += any(only for *_, only in looked_at(success, labels=[label], seed=seed))
    assert named <= 4  # 5 % of 60, and one standard deviation
