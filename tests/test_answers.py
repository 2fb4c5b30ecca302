"""Enough and needed, on models whose circuits are known, and on numbers in which nothing is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lensdepth import CircuitResult, DepthModel, Task, load_model, load_task, patch_components
from lensdepth.circuit import told
from lensdepth.circuit.answers import Answer, answer
from lensdepth.circuit.places import random_groups
from lensdepth.cli import main
from lensdepth.teaching.planted.blank import D_MODEL, LENGTH, Blank
from lensdepth.teaching.planted.language import N_POS, prompt_file
from lensdepth.units import FEWEST_UNITS

pytestmark = pytest.mark.long

N_LAYERS = 6
BIG = 3 * LENGTH
Plant = Callable[[Blank], None]


def words(blank: Blank, start: int, n: int = 3) -> list[torch.Tensor]:
    """Directions of some input words; those that no prompt has stand for what is written."""
    return [blank.unit[f"in{start + i}"] for i in range(n)]


def head(
    blank: Blank, layer: int, number: int, given: list[torch.Tensor], made: list[torch.Tensor]
) -> None:
    """One head writes at the last token what stands for each thing that it finds in the prompt."""
    attention = blank.model.model.layers[layer].self_attn
    for i, (a, b) in enumerate(zip(given, made, strict=True)):
        row = number * D_MODEL // 2 + i
        # The norm gives states of length sqrt(d_model); the mean divides by the tokens.
        attention.v_proj.weight.data[row] = N_POS / D_MODEL**0.5 * a
        attention.o_proj.weight.data[:, row] = BIG * b


def mlp(
    blank: Blank, layer: int, gate: list[torch.Tensor], up: list[torch.Tensor],
    down: list[torch.Tensor],
) -> None:  # fmt: skip
    """A neuron for each: writes `down` where the state has `gate` and `up`, and nothing else."""
    part = blank.model.model.layers[layer].mlp
    for i, (g, u, d) in enumerate(zip(gate, up, down, strict=True)):
        part.gate_proj.weight.data[i] = 4 * g
        part.up_proj.weight.data[i] = u
        part.down_proj.weight.data[:, i] = BIG * d


def reads(blank: Blank, start: int) -> None:
    for i, one in enumerate(words(blank, start)):
        blank.read(f"out{i}", one)


def chain(blank: Blank) -> None:
    """A head brings the input to the end as something else; an MLP makes the answer of that."""
    head(blank, 1, 0, words(blank, 0), words(blank, 3))
    mlp(blank, 3, words(blank, 3), words(blank, 3), words(blank, 6))
    reads(blank, 6)


def tie(blank: Blank) -> None:
    """Two heads each write the whole answer; input 3 has none, and answers output 3."""
    for number in (0, 1):
        head(blank, 2, number, words(blank, 0), words(blank, 6))
    reads(blank, 6)
    blank.read("out3", blank.unit["is"])


def both(blank: Blank) -> None:
    """Two heads each bring half of what the MLP of block 4 needs at once."""
    head(blank, 2, 0, words(blank, 0), words(blank, 3))
    head(blank, 2, 1, words(blank, 0), words(blank, 6))
    mlp(blank, 4, words(blank, 3), words(blank, 6), words(blank, 9))
    reads(blank, 9)


def renamed(blank: Blank) -> None:
    """The MLP of block 0 names the input anew at its own token; a head reads that name."""
    mlp(blank, 0, words(blank, 0), words(blank, 0), words(blank, 3))
    head(blank, 3, 1, words(blank, 3), words(blank, 6))
    reads(blank, 6)


def patched(made: tuple[DepthModel, Task], components: str, **options: Any) -> CircuitResult:
    model, task = made
    return patch_components(model, task, components, **options)


SYMMETRIC = [(a, b) for a in range(3) for b in range(3) if a != b] * 2
TO_NONE = [(a, 3) for a in range(3)] * 3


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """From a plant to its model and task, made once each."""
    made: dict[Plant, tuple[DepthModel, Task]] = {}

    def make(plant: Plant) -> tuple[DepthModel, Task]:
        if plant not in made:
            folder = tmp_path_factory.mktemp(plant.__name__)
            blank = Blank("llama", N_LAYERS)
            plant(blank)
            model = load_model(blank.save(folder / "m"))
            pairs = TO_NONE if plant is tie else SYMMETRIC
            file = prompt_file(folder / "p.csv", pairs, list(range(12)))
            made[plant] = model, load_task(file, model, keep="correct", units=[])
            assert len(made[plant][1]) == len(pairs)
        return made[plant]

    return make


@pytest.mark.parametrize(
    ("plant", "components", "enough", "needed"),
    [
        (chain, "L1H0", "yes", "yes"),
        (chain, "MLP3", "yes", "yes"),
        (chain, "L1H0,MLP3", "yes", "yes"),
        (chain, "L1H1,ATTN3,MLP1", "no", "no"),
        (tie, "L2H0", "yes", "no"),
        (tie, "L2H1", "yes", "no"),
        (tie, "ATTN2", "yes", "yes"),
        (tie, "MLP2,ATTN5", "no", "no"),
        (both, "L2H0", "no", "yes"),
        (both, "L2H1,MLP1", "no", "yes"),
        (both, "ATTN2", "yes", "yes"),
        (both, "MLP4", "yes", "yes"),
        (both, "MLP3", "no", "no"),
        (renamed, "ATTN3", "yes", "yes"),
        (renamed, "MLP0", "no", "no"),
        (renamed, "MLP0@input", "shortcut", "shortcut"),
        (renamed, "MLP0@2,MLP4", "shortcut", "shortcut"),
        (renamed, "MLP0@input,ATTN3@prediction", "yes", "yes"),
    ],
)
def test_what_is_enough_and_what_is_needed(
    planted: Any, plant: Plant, components: str, enough: str, needed: str
) -> None:
    if plant is not tie:
        noised = patched(planted(plant), components, mode="noise", n_random=3)
        assert (noised.enough.verdict, noised.needed.verdict) == (enough, needed)
    found = patched(planted(plant), components, n_random=3)
    assert (found.enough.verdict, found.needed.verdict) == (enough, needed)
    lines = told.sentences(found)
    word = {"yes": "Yes", "no": "No", "shortcut": "Only by the input"}
    assert lines[1].startswith(f"Is the set enough? {word[enough]}: ")
    assert lines[2].startswith(f"Is it needed? {word[needed]}: ")
    assert (told.SHORTCUT in lines) == (enough == "shortcut")


def test_all_tokens_are_a_shortcut_and_the_default_is_none(planted: Any) -> None:
    """An early MLP at the input token passes for a complete circuit, and all others do as well."""
    model, task = planted(renamed)
    everywhere = patch_components(model, task, "MLP0", positions="all", n_random=0)
    assert float(everywhere.transferred[0].mean()) > 0.95
    assert everywhere.enough.verdict == everywhere.needed.verdict == "shortcut"
    assert everywhere.enough.shared is not None
    assert everywhere.enough.shared.value == pytest.approx(0, abs=1e-4)
    default = patch_components(model, task, "MLP0", n_random=0)
    assert default.positions == ("prediction",)
    assert not default.patches_input
    assert default.transferred[0].abs().max() < 1e-4
    # What makes the answer at the end is no shortcut, wherever it is patched besides.
    end = patch_components(model, task, "ATTN3", positions="all", n_random=0)
    assert (end.enough.verdict, end.needed.verdict) == ("yes", "yes")


def test_what_follows_is_not_what_goes_by_itself(planted: Any) -> None:
    """All others make the set follow: that they bring everything does not mean that it is idle."""
    found = patched(planted(chain), "MLP3", n_random=3)
    assert found.brought("complement").value == pytest.approx(1, abs=1e-3)
    assert found.needed.verdict == "yes"
    assert told.sentences(found)[-1] == (
        "All others together bring 1.00, the set being free to follow what they change."
    )
    other = patched(planted(tie), "L2H0", n_random=3)
    assert told.sentences(other)[-1].endswith("the answer has other ways than this set.")


def test_an_answer_erased_is_none_brought(planted: Any) -> None:
    """Half of what the answer needs takes the other away: half of the logit difference, no gain."""
    found = patched(planted(both), "L2H0", n_random=0)
    assert float(found.transferred[0].mean()) == pytest.approx(0.5, abs=0.05)
    assert found.judged == "target_logit"
    assert found.enough.share.value == pytest.approx(0, abs=0.05)
    assert found.needed.share.value == pytest.approx(1, abs=0.05)
    by_difference = patched(planted(both), "L2H0", also=(), n_random=0)
    assert by_difference.judged == "logit_diff"
    assert by_difference.enough.verdict == "in part"


def test_an_answer_that_gains_nothing_is_not_judged_by(planted: Any) -> None:
    """A share of a way backwards would be none; the difference of both answers is left."""
    found = patched(planted(chain), "L1H0", n_random=0)
    at = found.outcome.metrics.index("target_logit")
    source = found.outcome.source.clone()
    source[at] = found.outcome.base[at] - 1
    other = replace(found, outcome=replace(found.outcome, source=source))
    assert (found.judged, other.judged) == ("target_logit", "logit_diff")
    assert other.enough.share.value == pytest.approx(float(found.transferred[0].mean()), abs=1e-3)


def test_nothing_that_reaches_the_end_is_enough_elsewhere(planted: Any) -> None:
    model, task = planted(chain)
    found = patch_components(model, task, "ATTN1", positions=[1], n_random=0)
    assert found.enough.verdict == found.needed.verdict == "no"
    assert "so that no set can be enough" in told.sentences(found)[-1]


def test_each_component_at_its_own_tokens(planted: Any) -> None:
    model, task = planted(renamed)
    apart = patch_components(model, task, "MLP0@input,ATTN3", n_random=4, seed=3)
    assert apart.positions == ("input", "prediction")
    assert apart.components == ("MLP0@input", "ATTN3")
    # The same by masks: at the input position alone, and at the prediction position alone.
    first = patch_components(model, task, "MLP0", positions=["input"], n_random=0)
    last = patch_components(model, task, "ATTN3", n_random=0)
    torch.testing.assert_close(apart.values[0], last.values[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(apart.values[1], first.values[1], rtol=1e-4, atol=1e-4)
    for names in apart.random_components:
        assert [name.partition("@")[2] for name in names] == ["input"] + ["prediction"] * 2
    for bad, said in (
        ("MLP0@middle", "named input or prediction"),
        ("MLP0@9", "outside every"),
        ("MLP0@", "names no component"),
        ("MLP0@1@2", "named input or prediction"),
    ):
        with pytest.raises(ValueError, match=said):
            patch_components(model, task, bad)


def test_a_token_named_twice_is_patched_once(planted: Any) -> None:
    """The set's own node is not patched in the complement under another name of its token."""
    model, task = planted(chain)
    plain = patch_components(model, task, "L1H0,MLP3", n_random=0)
    twice = patch_components(model, task, "L1H0@prediction,MLP3@-1", n_random=0)
    torch.testing.assert_close(plain.values, twice.values, rtol=1e-4, atol=1e-4)


def test_random_sets_are_others(planted: Any) -> None:
    model, task = planted(chain)
    found = patch_components(model, task, "MLP2", n_random=20)
    assert sorted(found.random_components) == [(f"MLP{i}",) for i in (0, 1, 3, 4, 5)]
    assert found.all_drawn
    heads = patched(planted(both), "ATTN2", n_random=20)
    assert len(set(heads.random_components)) == 20
    assert ("L2H0", "L2H1") not in heads.random_components
    assert not heads.all_drawn
    assert heads.enough.p == pytest.approx(1 / 21)
    assert heads.enough.stands_out
    assert "20 random sets of the same make-up none brings as much" in told.sentences(heads)[1]
    # One of five cannot stand out, whatever it does.
    five = patched(planted(both), "ATTN2", n_random=5)
    assert not five.enough.stands_out
    assert "too few sets to say that it stands out" in told.sentences(five)[1]


def numbers(
    moved: np.ndarray, drawn: np.ndarray | None = None, shared: np.ndarray | None = None
) -> Answer:
    way = torch.ones(len(moved))
    none = np.zeros((0, len(moved)))
    tensors = (
        torch.tensor(x, dtype=torch.float32) for x in (moved, none if drawn is None else drawn)
    )
    first, second = tensors
    rest = None if shared is None else torch.tensor(shared, dtype=torch.float32)
    return answer(first, rest, second, way, ())


def test_sets_that_are_random_stand_out_in_one_of_twenty() -> None:
    rng = np.random.default_rng(0)
    out = 0
    for _ in range(200):
        every = rng.random(21)[:, None] + 0.1 * rng.standard_normal((21, 10))
        out += numbers(every[0], every[1:]).stands_out
    assert 1 <= out <= 19  # of 200 at 1 in 21; beyond these once in a thousand


@pytest.mark.parametrize("n", [15, 40])
@pytest.mark.parametrize(("truth", "wrong"), [(0.8, "yes"), (0.2, "no")])
def test_on_the_edge_an_answer_is_rarely_given(n: int, truth: float, wrong: str) -> None:
    rng = np.random.default_rng(1)
    given = sum(numbers(truth + 0.3 * rng.standard_normal(n)).verdict == wrong for _ in range(200))
    assert given <= 16  # 2.5 % are meant, percentiles of few pairs give some more


def test_few_pairs_speak_for_themselves_alone(planted: Any) -> None:
    model, task = planted(renamed)
    one = patch_components(model, task.select([0]), "ATTN3", n_random=0)
    assert one.enough.verdict == one.needed.verdict == "too few"
    lines = told.sentences(one)
    assert lines[1].startswith("Is the set enough? Yes, here: ")
    assert "1 pair cannot speak for others." in lines
    short = patch_components(model, task.select([0]), "MLP0", positions="all", n_random=0)
    assert "Only by the input, here" in told.sentences(short)[1]
    assert told.SHORTCUT in told.sentences(short)
    assert numbers(np.ones(FEWEST_UNITS - 1)).verdict == "too few"
    assert numbers(np.ones(FEWEST_UNITS)).verdict == "yes"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (np.full(20, 0.5), "in part"),
        (np.full(20, 0.9), "yes"),
        (np.full(20, 0.1), "no"),
        (np.full(20, -0.6), "no"),
        (np.tile([0.0, 1.0], 10), "in part"),
        (np.tile([0.2, 1.2], 10), "cannot tell"),
    ],
)
def test_the_answer_is_where_the_interval_lies(values: np.ndarray, verdict: str) -> None:
    assert numbers(values).verdict == verdict


def test_a_pair_without_way_decides_nothing() -> None:
    """Means of quotients would be lost in it."""
    moved = torch.tensor([5.0] * 9 + [3.0])
    way = torch.tensor([5.0] * 9 + [1e-9])
    found = answer(moved, None, torch.zeros(0, 10), way, ())
    assert found.share.value == pytest.approx(48 / 45)
    nothing = answer(moved, None, torch.zeros(0, 10), torch.zeros(10), ())
    assert nothing.verdict == "cannot tell"


def test_other_metrics_have_answers_too(planted: Any, tmp_path: Path) -> None:
    model, task = planted(chain)
    for metric in ("kl", "kl_to_source", "js", "flip", "log_prob", "success"):
        found = patch_components(model, task, "L1H0", metric=metric, also=(), n_random=2)
        assert (found.enough.verdict, found.needed.verdict) == ("yes", "yes"), metric
        assert told.summary(found)["enough"]["verdict"] == "yes"
        assert f"of the change of {metric} from" in told.sentences(found)[1]
        assert found.plot().data
    found.save(tmp_path / "c.safetensors")
    again = CircuitResult.load(tmp_path / "c.safetensors")
    assert told.sentences(again) == told.sentences(found)


def test_the_command_answers(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("circuit", "--n", "30", "--components", "MLP0")

    def said(*more: str) -> str:
        assert main([*asked, *more]) == 0
        return capsys.readouterr().out

    assert "Is the set enough? No: " in said()
    everywhere: Mapping[str, Any] = json.loads(said("--position", "all", "--json"))["summary"]
    assert everywhere["enough"]["verdict"] == "shortcut"
    assert everywhere["enough"]["at_shared_tokens"] == pytest.approx(0, abs=0.02)
    assert everywhere["runs"]["circuit"]["transferred"]["mean"] > 0.9
    assert everywhere["enough"]["random"]["n"] == 9


def test_sets_drawn_are_the_same_for_a_seed(planted: Any) -> None:
    model, task = planted(chain)
    first, second = (
        patch_components(model, task, "L1H0@input,MLP2", n_random=5, seed=7) for _ in range(2)
    )
    assert first.random_components == second.random_components
    assert random_groups([], 0, 0) == []
