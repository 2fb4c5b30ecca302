"""Tokens of differing wordings are lined up by what they stand for, by hand and in sweeps."""

import json
import re
from typing import Any

import pytest
import torch

from lensdepth import (
    DepthModel,
    Task,
    ablation_sweep,
    load_task,
    patch_components,
    patch_sweep,
)
from lensdepth.cli import main
from lensdepth.sweep.alignment import aligned_places, n_alone, one_wording, unaligned
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import comparable_spans
from lensdepth.tokens import pad_tokens

BOS, IS = 0, 7


def roles_of(
    base: list[list[int]], source: list[list[int]], inputs: list[int] | None = None
) -> Roles:
    at = {} if inputs is None else {"input": torch.tensor(inputs)}
    answers = torch.zeros(len(base), dtype=torch.long)
    return Roles(
        mode="denoise", base=pad_tokens(base, 0), source=pad_tokens(source, 0),
        base_positions=at, source_positions=at, target=answers, foil=answers,
    )  # fmt: skip


def lined_up(roles: Roles) -> list[tuple[str, list[int], list[int]]]:
    return [(one.name, one.base.tolist(), one.source.tolist()) for one in aligned_places(roles)]


def test_two_wordings_of_one_length_by_hand() -> None:
    # "two after X is" and "X plus two is": the third token is the input of neither.
    roles = roles_of(
        [[BOS, 11, 12, 21, IS], [BOS, 23, 13, 14, IS]],
        [[BOS, 11, 12, 22, IS], [BOS, 24, 13, 14, IS]],
        [3, 1],
    )
    assert not one_wording(roles)
    places = [
        ("0", [0, 0]),
        ("before input", [1, -1]),
        ("before input", [2, -1]),
        ("input", [3, 1]),
        ("after input", [-1, 2]),
        ("after input", [-1, 3]),
        ("prediction", [4, 4]),
    ]
    assert lined_up(roles) == [(name, at, at) for name, at in places]


def test_what_all_share_keeps_its_index_and_inputs_of_several_tokens_end_together() -> None:
    # One sentence about a word of one token or of two; all end in 5, 6, IS.
    roles = roles_of(
        [[BOS, 4, 21, 5, 6, IS], [BOS, 4, 31, 32, 5, 6, IS]],
        [[BOS, 4, 22, 5, 6, IS], [BOS, 4, 33, 34, 5, 6, IS]],
        [2, 3],
    )
    places = [
        ("0", [0, 0]),
        ("1", [1, 1]),
        ("input, earlier", [-1, 2]),
        ("input", [2, 3]),
        ("-3", [3, 4]),
        ("-2", [4, 5]),
        ("prediction", [5, 6]),
    ]
    assert lined_up(roles) == [(name, at, at) for name, at in places]


def test_without_an_input_what_differs_is_one_role_and_nothing_is_lost() -> None:
    rows = [[BOS, 4, 21, 22, IS], [BOS, 4, 23, IS], [BOS, 4, IS]]
    roles = roles_of(rows, rows)
    found = lined_up(roles)
    assert [name for name, *_ in found] == ["0", "1", *["other tokens"] * 2, "prediction"]
    for i, row in enumerate(rows):
        assert sorted(at[i] for _, at, _ in found if at[i] >= 0) == [*range(len(row))]
    # Also where the input is the last token, in some prompts or in all.
    for inputs in ([4, 3, 2], [2, 3, 2]):
        found = lined_up(roles_of(rows, rows, inputs))
        assert found[-1][1] == [4, 3, 2]
        for i, row in enumerate(rows):
            assert sorted(at[i] for _, at, _ in found if at[i] >= 0) == [*range(len(row))]


def test_words_may_differ_in_one_wording() -> None:
    names = [[BOS, 30 + i, 4, 40 + i, 5, 6, 50 + i, IS] for i in range(6)]
    assert one_wording(roles_of(names, names, [6] * 6))
    # Two prompts that share nothing are one pair of which nothing is averaged.
    assert one_wording(roles_of([[1, 2, 3, 4]], [[5, 6, 7, 8]], [2]))
    other = [[BOS, 8, 9, 30, 12, 13, 56, IS]]  # as long, its input at the same place
    assert not one_wording(roles_of(names + other, names + other, [6] * 7))


def test_a_pair_of_different_lengths_lines_up_by_what_is_equal() -> None:
    # "capital of United Kingdom is" and "capital of Kenya is", both behind an example; and a pair
    # whose examples differ in length too: 8 and 9, or 8 and 9 and 10.
    kingdom = [BOS, 1, 2, 8, 9, 1, 2, 21, 22, IS]
    kenya = [BOS, 1, 2, 8, 9, 1, 2, 23, IS]
    other = [BOS, 1, 2, 8, 9, 10, 1, 2, 23, IS]
    roles = Roles(
        mode="denoise",
        base=pad_tokens([kingdom, kenya, kingdom], 0),
        source=pad_tokens([kenya, kingdom, other], 0),
        base_positions={"input": torch.tensor([8, 7, 8])},
        source_positions={"input": torch.tensor([7, 8, 8])},
        target=torch.zeros(3, dtype=torch.long),
        foil=torch.zeros(3, dtype=torch.long),
    )
    assert not one_wording(roles)
    assert not unaligned(roles)
    found = lined_up(roles)
    whole = [dict(zip(base, source, strict=True)) for base, source in _by_pair(found)]
    # "United" has no counterpart, whichever of the two prompts is edited.
    assert whole[0] == {k: k for k in range(7)} | {8: 7, 9: 8}
    assert whole[1] == {k: k for k in range(7)} | {7: 8, 8: 9}
    # What is equal behind the longer example stands for itself; as long on the whole, the third
    # pair is lined up by index up to the input, as prompts of one length are.
    assert whole[2] == {k: k for k in range(10)}
    longer = roles_of([kingdom], [[*other[:8], 31, 32, 33, IS]])
    ((base, source),) = _by_pair(lined_up(longer))
    assert dict(zip(base, source, strict=True)) == {
        **{k: k for k in range(5)}, 5: 6, 6: 7, 7: 9, 8: 10, 9: 11,
    }  # fmt: skip
    assert n_alone(roles, aligned_places(roles)) == 1


def test_pairs_that_share_too_little_are_counted() -> None:
    rows = [[BOS, 1, 2, IS], [BOS, 11, 12, 13, 14, 15]]
    others = [[BOS, 1, 3, 4, IS], [BOS, 21, 22, 23, 24, 25, 26]]
    assert unaligned(roles_of(rows, others)) == [1]
    with pytest.raises(ValueError, match=r"1 of 2 pairs have .* \(pair 1: 6 and 7 tokens\)"):
        comparable_spans(roles_of(rows, others), "all", caller="test")


def _by_pair(found: list[tuple[str, list[int], list[int]]]) -> list[list[list[int]]]:
    n = len(found[0][1])
    return [
        [
            [base[i] for _, base, _ in found if base[i] >= 0],
            [source[i] for _, _, source in found if source[i] >= 0],
        ]
        for i in range(n)
    ]


def test_all_tokens_of_pairs_of_different_lengths_are_patched(trained: DepthModel) -> None:
    rows = [
        ("Two months from January is", "After two months from May is", "March", "July"),
        ("Two months from March is", "Two months from June is", "May", "August"),
    ]
    task = load_task(
        [
            {"clean": c, "corrupted": d, "target": t, "foil": f,
             "input": c.split()[-2], "corrupted_input": d.split()[-2]}
            for c, d, t, f in rows
        ],
        trained,
        on_multi_token="error",
    )  # fmt: skip
    assert task.corrupted_tokens is not None
    assert not torch.equal(task.clean_tokens.lengths, task.corrupted_tokens.lengths)
    found = patch_sweep(trained, task, positions="all", depths=[0, 2], controls=(), also=())
    named = patch_sweep(trained, task, depths=[0, 2], controls=(), also=())
    for name in ("input", "prediction"):
        torch.testing.assert_close(
            found.of("effect", position=name), named.of("effect", position=name)
        )
    both = patch_components(trained, task, ["MLP1"], positions="all", n_random=0)
    assert {"input", "prediction"} <= {*both.positions}


@pytest.fixture(scope="module")
def two(trained: DepthModel) -> Task:
    """Two wordings of the months, whose inputs and ends stand at other places."""
    whole = load_task("months", trained, n=60, template=["from", "start"], keep="correct")
    rows = [
        (whole.labels.template == name).to_numpy().nonzero()[0][:4] for name in ("from", "start")
    ]
    return whole.select([*map(int, rows[0]), *map(int, rows[1])])


def test_a_map_has_one_prediction_column_and_means_of_roles(trained: DepthModel, two: Task) -> None:
    found = patch_sweep(trained, two, positions="all", controls=())
    assert found.positions[0] == "0"
    assert found.positions[-1] == "prediction"
    assert len(set(found.positions)) == len(found.positions)
    named = patch_sweep(trained, two, controls=())
    for name in ("input", "prediction"):
        torch.testing.assert_close(
            found.of("effect", position=name), named.of("effect", position=name)
        )
    # Each pair's role is the mean over its own tokens, patched one by one.
    for i in (0, 5):
        one = two.select([i])
        assert one.input_positions is not None
        at, n = int(one.input_positions[0]), int(one.clean_tokens.lengths[0])
        alone = patch_sweep(trained, one, positions=[*range(n)], controls=()).effects[0]
        end = n - 1
        for name, tokens in (("before input", range(1, at)), ("after input", range(at + 1, end))):
            own = found.of("effect", position=name)[i]
            expected = alone[:, list(tokens)].mean(1) if tokens else torch.full_like(own, torch.nan)
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4, equal_nan=True)
    figure: Any = found.heatmap()
    assert [*figure.layout.xaxis.ticktext].count("prediction") <= 1
    assert set(found.to_frame().position) == set(found.positions)


def test_one_wording_keeps_its_tokens(trained: DepthModel, two: Task) -> None:
    one = two.select((two.labels.template == "from").to_numpy())
    found = patch_sweep(trained, one, positions="all", controls=())
    assert found.positions == tuple(map(str, range(int(one.clean_tokens.lengths[0]))))
    assert found.labels[-1] == "is"


def test_estimates_and_edits_are_averaged_alike(trained: DepthModel, two: Task) -> None:
    guessed = patch_sweep(trained, two, positions="all", method="attribution", verify=3)
    exact = patch_sweep(trained, two, positions="all", controls=(), also=())
    assert guessed.positions == exact.positions
    assert guessed.exact_values is not None
    known = ~guessed.exact_values[..., 0].isnan()
    torch.testing.assert_close(
        guessed.exact_values[..., 0][known], exact.of()[known], atol=1e-4, rtol=1e-4
    )
    assert 0 < int(known.any(0).sum()) <= 3
    swept = ablation_sweep(trained, two, positions="all", depths=[2], also=())
    assert swept.angle.shape[-1] == len(exact.positions)
    torch.testing.assert_close(
        swept.of("effect", edit="full", scope="local", depth=2),
        exact.of("effect", depth=2),
        atol=1e-4, rtol=1e-4, equal_nan=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match=re.escape("do not line up token by token")):
        one = two.select((two.labels.template == "from").to_numpy())
        ablation_sweep(trained, two, positions="all", to="mean", reference=one)


def test_one_wording_of_a_map_can_be_drawn_alone(trained: DepthModel, two: Task) -> None:
    found = patch_sweep(trained, two, positions="all", controls=(), also=())
    own = (two.labels.template == "from").to_numpy()
    figure: Any = found.heatmap(only={"template": "from"})
    drawn = torch.tensor(figure.data[0].z, dtype=torch.float32)
    expected = found.effects[torch.tensor(own.tolist())].nanmean(0)
    torch.testing.assert_close(drawn, expected, equal_nan=True)
    assert "template from" in figure.layout.title.text
    with pytest.raises(ValueError, match=r"no label 'wording' here; there are .*template"):
        found.heatmap(only={"wording": "from"})
    with pytest.raises(ValueError, match="no pair has template 'no'; there are from, start"):
        found.heatmap(only={"template": "no"})


def test_one_wording_is_taken_by_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = ["patch", "--model", "tiny", "--template", "from", "--template", "start", "--n", "16"]
    assert main([*drawn, "--json", "--only", "template=start"]) == 0
    alone = json.loads(capsys.readouterr().out)
    tokens = alone["summary"]["effects"]["tokens"]
    assert tokens[1] == "Starting"
    assert alone["summary"]["effects"]["positions"] == [*map(str, range(len(tokens)))]
    assert all(text.startswith("Starting") for text in alone["provenance"]["prompts"])
    assert main([*drawn, "--json"]) == 0
    both = json.loads(capsys.readouterr().out)["summary"]["effects"]
    assert both["positions"][-1] == "prediction"
    assert len(both["positions"]) < len(tokens)
    for only, said in (
        ("template", "--only must be LABEL=VALUE"),
        ("wording=start", "no label column 'wording'"),
        ("template=no", "no pair has 'template' 'no'; there are from, start"),
    ):
        assert main([*drawn, "--only", only]) != 0
        assert said in capsys.readouterr().err
    assert main(["lens", "January is", "--only", "template=start"]) != 0
    assert "--only chooses among the pairs of a task" in capsys.readouterr().err
