"""What the norm decides: equal lengths, a slow way by plain hooks, planted norms both ways."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lensdepth import confidence_response, load_model, load_task, metrics
from lensdepth.analyses import analysis
from lensdepth.circuit.frozen import final_norm
from lensdepth.claims.twins import own_task
from lensdepth.confidence import ConfidenceProfile
from lensdepth.confidence import writes as writes_of
from lensdepth.confidence.null_space import null_space, null_space_of
from lensdepth.confidence.verdict import judge, overall
from lensdepth.model import DepthModel
from lensdepth.provenance import Backend
from lensdepth.site import depth_hook, site_hook
from lensdepth.sweep.controls import depth_noise
from lensdepth.tasks import Task
from lensdepth.teaching import planted
from lensdepth.units import Grouping
from lensdepth.untrained import untrained

KINDS = [(a, a + 6) for a in range(6)] + [(a + 6, a) for a in range(6)]
ALL = list(range(12))
WORDINGS = (*planted.WORDINGS, *(f"out{i} {{}} is" for i in range(8)))
"""So many that no change in any of their prompts is known to be below one in ten."""
FACTORS = (0.25, 3.0)


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=24, keep="all")


def planted_task(folder: Path, model: DepthModel, outputs: list[int]) -> Task:
    path = planted.prompt_file(folder / "p.csv", KINDS, outputs, WORDINGS)
    return load_task(path, model, keep="correct")


def at_last(model: DepthModel, prompts: list[str], hook: str, made: Any) -> torch.Tensor:
    """Logits where a plain hook of PyTorch's puts `made(state, i)` at the last token, by prompt."""
    rows = []
    for i, prompt in enumerate(prompts):
        tokens = model.tokenize([prompt])

        def put(value: torch.Tensor, hook: Any, i: int = i) -> torch.Tensor:
            value = value.clone()
            value[0, -1] = made(value[0, -1], i)
            return value

        with torch.no_grad():
            given = model.model.run_with_hooks(tokens.tokens, fwd_hooks=[(hook, put)])
        rows.append(given[0, -1])
    return torch.stack(rows).float()


def test_numbers_are_those_of_plain_hooks_and_turns_move_as_far(
    tiny_llama: DepthModel, tiny_gpt2: DepthModel
) -> None:
    for model in (tiny_llama, tiny_gpt2):
        task = load_task("months", model, n=10, keep="all")
        depth, seed = 2, 4
        found = confidence_response(
            model, task, depths=[1, depth], factors=FACTORS, control_pairs="all", seed=seed
        )
        prompts, hook = list(task.clean), depth_hook(depth, model.n_layers)
        states = model.activations(prompts, [hook])[0, :, 0].double()
        noise = depth_noise(range(10), [depth], (1, model.d_model), seed)[0, :, 0].double()
        plain = at_last(model, prompts, hook, lambda x, i: x)
        for k, factor in enumerate(FACTORS):
            # In the plane of the state and the noise, by hand: the chord is |f - 1| of the radius.
            chord = abs(factor - 1)
            u = states / states.norm(dim=1, keepdim=True)
            w = noise - (noise * u).sum(1, keepdim=True) * u
            w = w / w.norm(dim=1, keepdim=True)
            cosine = 1 - chord**2 / 2
            turned = states.norm(dim=1, keepdim=True) * (
                cosine * u + math.sqrt(max(0.0, 1 - cosine**2)) * w
            )
            torch.testing.assert_close((turned - states).norm(dim=1), chord * states.norm(dim=1))
            torch.testing.assert_close(turned.norm(dim=1), states.norm(dim=1))
            made: dict[str, Any] = {
                "norm": lambda x, i, f=factor: f * x,
                "turn": lambda x, i, t=turned: t[i].to(x),
            }
            for edit, put in made.items():
                logits = at_last(model, prompts, hook, put)
                log_p = logits.double().log_softmax(-1)
                own, mine = plain.argmax(-1), logits.argmax(-1)
                assert task.target_ids is not None
                expected = {
                    "entropy": -(log_p.exp() * log_p).sum(-1),
                    "flip": (own != mine).double(),
                    "own_probability": log_p.exp().gather(1, own[:, None])[:, 0],
                    "confidence": log_p.exp().amax(1),
                    "right": (mine == task.target_ids).double(),
                }
                for metric, values in expected.items():
                    ours = found.of(metric, edit=edit, depth=depth)[k]
                    torch.testing.assert_close(ours.double(), values, atol=1e-4, rtol=1e-4)


def test_at_the_last_depth_no_factor_does_anything_and_a_turn_does(tiny_gpt2: DepthModel) -> None:
    task = load_task("months", tiny_gpt2, n=12, keep="all")
    last = tiny_gpt2.n_layers
    found = confidence_response(tiny_gpt2, task, depths="all", control_pairs="all")
    assert found.change("entropy")[:, :, last].abs().max() < 1e-4
    assert found.change("entropy", "turn")[:, :, last].abs().max() > 1e-2
    assert found.judged_depths == list(range(1, last))
    assert f"Depth {last} decides nothing" in analysis("confidence").sentences(found)[-1]


def test_a_planted_norm_tells_confidence_where_it_does_and_nowhere_else(
    tmp_path: Path, backend: Backend
) -> None:
    folder = planted.dimmer(tmp_path / "m", n_layers=5, layer=1, weigh=3)
    model = load_model(folder, backend=backend)
    task = planted_task(tmp_path, model, ALL)
    found = confidence_response(model, task, control_pairs="all")
    # What is read is loud x 2 of the length, over that of the whole, of which 12 are never read.
    n_words = len(model.tokenizer)
    for k, factor in enumerate(found.factors):
        read = planted.D_MODEL**0.5 * 6 * 2 * factor / math.sqrt(5 * factor**2 + 12**2)
        logits = torch.zeros(n_words, dtype=torch.float64)
        logits[0] = read
        by_hand = float(metrics.entropy(logits))
        ours = found.of("entropy", edit="norm", depth=3)[k]
        assert ours.numpy() == pytest.approx(by_hand, abs=2e-3)
    verdicts = {depth: one.verdict for depth, one in found.judged.items()}
    assert verdicts == {
        1: "nothing", 2: "tells confidence", 3: "tells confidence", 4: "nothing",
    }  # fmt: skip
    assert found.verdict == "tells confidence"
    said = " ".join(analysis("confidence").sentences(found))
    assert "The norm tells confidence at depths 2, 3 of 5." in said
    assert "(longer is surer)" in said
    assert "It does nothing at depths 1, 4." in said


def test_a_planted_norm_decides_and_no_turn_as_far_does_as_much(
    tmp_path: Path, backend: Backend
) -> None:
    folder = planted.gate(tmp_path / "m", n_layers=5, stretch=1, weigh=3)
    model = load_model(folder, backend=backend)
    task = planted_task(tmp_path, model, [0] * 6 + [1] * 6)
    found = confidence_response(model, task, factors=FACTORS, control_pairs="all")
    # Between, 5 lengths are held against 2: a quarter of them is less. The other kind has 1, and
    # three times as many are more.
    flips = found.of("flip", edit="norm", depth=2)
    first_kind = torch.tensor([int(str(x).removeprefix("in")) < 6 for x in task.inputs or ()])
    assert torch.equal(flips[0].bool(), first_kind)
    assert torch.equal(flips[1].bool(), ~first_kind)
    assert found.verdict == "decides"
    assert found.at("decides") == [1, 2, 3]
    assert found.at("nothing") == [4]
    assert found.judged[2].flips_lead.low > 0
    # Where the gate is gone, the same turns still change first choices.
    assert found.judged[4].flips_lead.high < -0.1


def test_nothing_comes_of_norms_once_nothing_is_added(tmp_path: Path) -> None:
    model = load_model(planted.switch(tmp_path / "m", n_layers=5, layer=0))
    found = confidence_response(model, planted_task(tmp_path, model, ALL), control_pairs="all")
    assert found.verdict == "nothing"
    assert found.change("entropy")[:, :, 1:].abs().max() < 1e-4
    assert "The norm does nothing at any depth" in analysis("confidence").sentences(found)[0]


def test_a_planted_entropy_neuron_is_found_with_what_entropy_owes_to_it(
    tmp_path: Path, backend: Backend
) -> None:
    folder = planted.hedge(tmp_path / "m", n_layers=5, layer=1, neuron=3)
    model = load_model(folder, backend=backend)
    found = confidence_response(model, planted_task(tmp_path, model, ALL), depths=[2], null_dims=20)
    null = found.null
    assert null is not None
    assert null.neurons is not None
    assert null.gain < 1e-6
    assert null.neurons[3, 0] == pytest.approx(1, abs=1e-4)
    assert null.neurons.isfinite().sum() == 1

    # Half of the prompts have 12 lengths of it: the mean is 6 for all.
    def entropy(unread: float) -> float:
        logits = torch.zeros(len(model.tokenizer), dtype=torch.float64)
        logits[0] = planted.D_MODEL**0.5 * 6 * 2 / math.sqrt(5 + unread**2)
        return float(metrics.entropy(logits))

    first, second = null.entropy[0, 3], null.entropy[6, 3]
    assert float(first) == pytest.approx(entropy(6) - entropy(12), abs=0.02)
    assert float(second) == pytest.approx(entropy(6) - entropy(0), abs=0.02)
    assert null.entropy[:, [0, 1, 2, 4]].abs().max() == 0
    assert null.direct.abs().max() < 1e-5
    said = " ".join(analysis("confidence").sentences(found))
    assert "1 neuron of 1 has more than half of its output there" in said
    assert "changes most for block 3" in said
    assert "with the norm's scale held: the norm's doing." in said


@pytest.mark.parametrize("seed", [1, 2])
def test_an_untrained_model_shows_nothing_of_it(seed: int) -> None:
    model = load_model("calendar")
    twin = untrained(model, seed=seed)
    task = load_task("months", model, n=60, keep="all")
    found = confidence_response(twin, own_task(twin, task, seed=seed, fewest=8))
    verdicts = {one.verdict for one in found.judged.values()}
    assert not {"tells confidence", "decides"} & verdicts
    # Its first choices do change, for nothing holds them: turns as far change as many.
    assert max(one.flips.low for one in found.judged.values()) > 0.1


def test_a_twin_stands_beside_it(trained: DepthModel) -> None:
    task = load_task("months", trained, n=40)
    found = confidence_response(trained, task, depths=[1, 2], factors=(2.0,), twin=True)
    assert [depth for depth, _ in found.twin] == [1, 2], found.twin_note
    said = " ".join(analysis("confidence").sentences(found))
    assert "In an untrained twin, on its own answers:" in said


def test_the_null_space_is_what_no_probability_depends_on() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 8, generator=rng, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=rng, dtype=torch.float64))[0]
    weight = torch.rand(8, generator=rng, dtype=torch.float64) + 0.5
    kept = (rows @ basis[:, :6]) @ basis[:, :6].T
    kept = kept + 5 * basis[:, 6]  # along the seventh all tokens are read alike
    found = null_space_of((kept / weight).float(), weight.float(), 2)
    assert found.gain < 1e-5
    torch.testing.assert_close(
        found.basis @ found.basis.T, basis[:, 6:] @ basis[:, 6:].T, atol=1e-5, rtol=0
    )
    assert found.share(basis[:, 7]).item() == pytest.approx(1, abs=1e-5)
    assert found.share(basis[:, 0]).item() == pytest.approx(0, abs=1e-5)
    assert found.share(torch.zeros(8, dtype=torch.float64)).isnan()
    assert found.expected == 2 / 8
    # Capped logits do not shift alike, so that only what no token reads is left.
    capped = null_space_of((kept / weight).float(), weight.float(), 1, capped=True)
    assert capped.share(basis[:, 7]).item() == pytest.approx(1, abs=1e-5)
    two = null_space_of((kept / weight).float(), weight.float(), 2, capped=True)
    assert two.gain > 0.1
    # A norm that centres never sees the mean, which is neither within nor outside.
    centred = null_space_of(rows.float(), torch.ones(8), 1, centred=True)
    assert float(centred.basis.sum(0).abs().max()) < 1e-5
    assert centred.expected == 1 / 7


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2", "gemma3"])
def test_a_step_in_the_null_space_moves_logits_by_its_length_alone(
    load_tiny: Any, backend: Backend, architecture: str
) -> None:
    """As far as the norm, with its scale held, lets it: held against the model's own readout."""
    model: DepthModel = load_tiny(architecture, backend)
    space = null_space(model, 2)
    assert space is not None
    prompts = ["Two months from January is", "Four days from Monday is"]
    last = depth_hook(model.n_layers, model.n_layers)
    x = model.activations(prompts, [last])[0, :, 0].double()
    centred = x - x.mean(-1, keepdim=True) if space.centred else x

    def spread(direction: torch.Tensor) -> torch.Tensor:
        """Of what a step of a hundredth does to logits, with the state's length kept."""
        d = (
            direction
            - (centred * direction).sum(-1, keepdim=True)
            / centred.square().sum(-1, keepdim=True)
            * centred
        )
        d = d / d.norm(dim=-1, keepdim=True)
        step = 0.05 * centred.norm(dim=-1, keepdim=True) * d
        return (
            model.readout((x + step).float(), linear=True)
            - model.readout((x - step).float(), linear=True)
        ).std(-1)

    norm = final_norm(model, x)
    torch.testing.assert_close(  # with the scale held at what it is, nothing is changed
        writes_of._entropy_held(model, x, norm), metrics.entropy(model.readout(x.float())),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip
    within = spread(space.basis[:, 0].expand_as(x))
    generator = torch.Generator().manual_seed(0)
    others = torch.stack(
        [spread(torch.randn(x.shape, generator=generator, dtype=x.dtype)) for _ in range(8)]
    ).mean(0)
    assert (within < others).all()
    writes = model.activations(prompts, [site_hook("mlp_out", 1)])[0, :, 0]
    assert ((space.share(writes) >= 0) & (space.share(writes) <= 1)).all()


UNITS = (Grouping(name="word", values=tuple(str(i // 2) for i in range(80))),)


def judged(entropy: Any, turned: Any, flips: Any, turned_flips: Any) -> str:
    spread = np.random.default_rng(0).normal(size=(80, 2)) * 0.02
    columns = [np.zeros((80, 2)) + x for x in (entropy, turned, flips, turned_flips)]
    return judge(
        columns[0] + spread, columns[1] + spread[::-1], columns[2], columns[3], (0.5, 2.0),
        units=UNITS, n_prompts=80, n_depths=2,
    ).verdict  # fmt: skip


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (([0.0, 0.0], [0.5, 0.5], 0.0, 0.5), "nothing"),
        (([0.6, -0.6], [0.1, 0.1], 0.0, 0.0), "tells confidence"),  # moves it more
        (([0.6, -0.6], [0.9, 0.9], 0.0, 0.5), "tells confidence"),  # without breaking the answer
        (([0.6, -0.6], [0.9, 0.9], 0.0, 0.0), "as any move"),
        (([0.6, 0.6], [0.1, 0.1], 0.0, 0.0), "cannot tell"),  # in no order of the factors
        (([0.6, -0.6], [0.1, 0.1], 0.5, 0.0), "decides"),
        (([0.6, -0.6], [0.1, 0.1], 0.5, 0.5), "as any move"),
        (([0.6, -0.6], [0.1, 0.1], 0.5, np.nan), "cannot tell"),
        (([0.6, -0.6], [np.nan, np.nan], 0.0, np.nan), "cannot tell"),
    ],
)
def test_the_rule_says_what_the_numbers_say(given: Any, verdict: str) -> None:
    flips = np.tile([[given[2] > 0, 0], [0, given[2] > 0]], (40, 1)).astype(float)
    assert judged(given[0], given[1], flips, given[3]) == verdict


def test_few_units_and_mixed_depths_have_their_verdicts() -> None:
    none = np.zeros((4, 1))
    few = judge(none, none, none, none, (2.0,), units=(), n_prompts=4, n_depths=1)
    assert few.verdict == "too few"
    assert overall([few])[0] == "too few"
    assert overall([])[0] == "cannot tell"


def test_noise_alone_is_rarely_called_anything() -> None:
    """Entropy that moves by as much as turns move it, at the edge of what counts, is no finding."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(200):
        words = rng.normal(size=(20, 1)).repeat(4, 0) * 0.2
        own, turned = (words + rng.normal(size=(80, 2)) * 0.2 for _ in range(2))
        flips = (rng.random((80, 2)) < 0.1).astype(float)
        found = judge(
            own + np.array([0.1, -0.1]), turned, flips, flips, (0.5, 2.0),
            units=(Grouping(name="word", values=tuple(str(i // 4) for i in range(80))),),
            n_prompts=80, n_depths=1,
        )  # fmt: skip
        wrong += found.verdict in ("tells confidence", "decides", "nothing")
    assert wrong <= 20


def test_calibration_is_told_where_there_are_right_and_wrong_answers(trained: DepthModel) -> None:
    task = load_task("months", trained, n=60, keep="all")
    found = confidence_response(trained, task, depths=[1, 2])
    right = {text: bool(x) for text, x in zip(
        task.clean, found.outcome.unedited("base", "right"), strict=True
    )}  # fmt: skip
    short = min(sum(right.values()), len(right) - sum(right.values()))
    told = analysis("confidence").summary(found)
    assert (told["calibration"] is None) == (short < 8) == bool(found.calibration_note)
    off = found.outcome.unedited("base", "confidence") - found.outcome.unedited("base", "right")
    torch.testing.assert_close(found.brier(), off.square())
    at = found.calibration_at(2)
    over = found.overconfidence("norm")[:, :, 1].mean(1) - off.mean()
    logs = torch.tensor(found.factors).log()
    slope = math.log(2) * float((logs * over).sum() / (logs * logs).sum())
    assert at["overconfidence"].value == pytest.approx(slope, abs=1e-5)
    json.dumps(told, allow_nan=False)
    assert isinstance(found, ConfidenceProfile)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"factors": (1.0,)}, "are not 1, which changes nothing; got 1"),
        ({"factors": (3.5,)}, "no turn moves a state further"),
        ({"factors": (2.0, 2.0)}, "each factor is given once"),
        ({"factors": ()}, "factors must be a list of numbers"),
        ({"null_dims": 0}, "null_dims lies between 1 and"),
        ({"depths": [99]}, "depths must lie between 0 and"),
    ],
)
def test_bad_options_are_refused_before_any_pass(
    trained: DepthModel, months: Task, options: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a pass was made")

    monkeypatch.setattr("lensdepth.passes.Passes.forward", run)
    with pytest.raises(ValueError, match=says):
        confidence_response(trained, months, **options)
