"""Untrained twins: what they are, the task that they get, and what follows from their numbers."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
import torch
from scipy import stats as distributions

from lensdepth import (
    DepthModel,
    Task,
    ablation_sweep,
    dose_response,
    evaluate_claims,
    load_model,
    load_task,
)
from lensdepth.claims.architecture import Beside, Draws, chance, passes
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.contrasts import contrast_sweep
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.evaluate import draw_twins, judge_claims, numbers_of
from lensdepth.claims.evidence import FACTORS, OF_CLAIM, PROFILES, Evidence
from lensdepth.claims.grounds import lay_grounds
from lensdepth.claims.result import ClaimTable, Finding, make_finding
from lensdepth.claims.statements import STATEMENTS, TITLES, claim_of
from lensdepth.claims.twins import MOST_PAIRS, own_task, unheard
from lensdepth.plain_runs import shared
from lensdepth.provenance import Backend
from lensdepth.tasks import answered_rightly
from lensdepth.teaching import planted
from lensdepth.untrained import untrained
from tests.architectures import CONFIGS, build

pytestmark = pytest.mark.long

PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4)]


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> tuple[DepthModel, Task]:
    path = tmp_path_factory.mktemp("sharp")
    model = load_model(planted.switch(path / "m", n_layers=6, layer=3, noise=0.15))
    file = planted.prompt_file(path / "p.csv", PAIRS, list(range(12)), planted.WORDINGS)
    return model, load_task(file, model)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_a_twin_has_the_sizes_and_ties_and_leaves_the_model_alone(
    architecture: str, tmp_path: Path, backend: Backend
) -> None:
    model = load_model(build(architecture, tmp_path / "m"), backend=backend)
    before = {name: w.clone() for name, w in model.model.state_dict().items()}
    numbers, prompts = torch.get_rng_state(), "Two months from January is"
    said = model.logits(prompts)
    twin = untrained(model, seed=1)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.equal(model.logits(prompts), said)
    now = model.model.state_dict()
    assert all(torch.equal(now[name], w) for name, w in before.items())
    theirs = twin.model.state_dict()
    assert {name: w.shape for name, w in theirs.items()} == {n: w.shape for n, w in before.items()}
    alike = ("architecture", "backend", "n_layers", "d_model", "d_vocab", "normalization", "dtype")
    assert [getattr(twin.info, a) for a in alike] == [getattr(model.info, a) for a in alike]
    assert twin.info.configuration == model.info.configuration
    assert twin.info.fingerprint != model.info.fingerprint
    again, other = untrained(model, seed=1), untrained(model, seed=2)
    assert again.info.fingerprint == twin.info.fingerprint != other.info.fingerprint
    assert torch.equal(again.logits(prompts), twin.logits(prompts))
    tied = CONFIGS[architecture]().tie_word_embeddings
    rows, _ = twin.unembedding()
    embedded = twin.model.embed
    weight = embedded.W_E if backend == "hooked" else embedded.original_component.weight
    scale = model.d_model**0.5 if architecture == "gemma2" and backend == "hooked" else 1.0
    assert torch.allclose(weight / scale, rows, atol=1e-6) == tied


def test_both_backends_draw_the_same_twin(tmp_path: Path, backend: Backend) -> None:
    folder = build("llama", tmp_path / "m")
    prompts = "Two months from January is"
    mine = untrained(load_model(folder, backend=backend), seed=3).logits(prompts)
    theirs = untrained(load_model(folder, backend="bridge"), seed=3).logits(prompts)
    assert torch.allclose(mine, theirs, atol=1e-4)


def test_a_model_without_a_known_configuration_is_drawn_its_own_way(backend: Backend) -> None:
    if backend == "bridge":
        pytest.skip("a bridge always has its configuration")
    loaded = load_model("tiny", backend="hooked")
    model = DepthModel(loaded.model, tokenizer=loaded.tokenizer)
    twin = untrained(model, seed=0)
    own = model.model.state_dict()
    assert {n: w.shape for n, w in twin.model.state_dict().items()} == {
        n: w.shape for n, w in own.items()
    }
    assert not torch.equal(twin.model.embed.W_E, model.model.embed.W_E)
    spread = float(twin.model.blocks[0].attn.W_Q.detach().std())
    assert spread == pytest.approx(twin.model.cfg.initializer_range, rel=0.1)


def test_a_twins_task_is_right_by_construction(sharp: tuple[DepthModel, Task]) -> None:
    model, task = sharp
    twin = untrained(model, seed=1)
    own = own_task(twin, task, seed=0, fewest=30)
    clean, corrupted = answered_rightly(own, twin)
    assert bool((clean & corrupted).all())
    assert 30 <= len(own) <= MOST_PAIRS
    assert own.target is not None
    assert own.foil is not None
    assert own.corrupted is not None
    assert own.inputs is not None
    assert own.corrupted_inputs is not None
    assert all(a != b for a, b in zip(own.target, own.foil, strict=True))
    known = {*task.clean, *(task.corrupted or ())}
    for row in zip(own.clean, own.corrupted, own.inputs, own.corrupted_inputs, strict=True):
        assert row[0] in known
        assert row[0].replace(row[2], row[3]) == row[1]
    # Positions are those of the varying word in either prompt.
    assert own.input_positions is not None
    for i, word in enumerate(own.inputs):
        at = int(own.input_positions[i])
        assert twin.str_tokens(own.clean[i])[at] == word
    with pytest.raises(ValueError, match="in two ways, and 3000 are needed"):
        own_task(twin, task, seed=0, fewest=3000)


def test_where_prompts_are_few_they_are_written_with_the_inputs_of_others(
    sharp: tuple[DepthModel, Task],
) -> None:
    model, task = sharp
    few = task.select(slice(0, 4))
    twin = untrained(model, seed=1)
    assert few.inputs is not None
    assert len(own_task(twin, few, seed=0, fewest=1)) < 10
    own = own_task(twin, few, seed=0, fewest=10)
    assert len(own) >= 10
    clean, corrupted = answered_rightly(own, twin)
    assert bool((clean & corrupted).all())
    words = {*few.inputs, *(few.corrupted_inputs or ())}
    frames = {text.replace(word, "_") for text, word in zip(few.clean, few.inputs, strict=True)}
    assert own.inputs is not None
    assert own.input_positions is not None
    assert {*own.clean} - {*few.clean}
    for i, (text, word) in enumerate(zip(own.clean, own.inputs, strict=True)):
        assert word in words
        assert text.replace(word, "_") in frames
        assert twin.str_tokens(text)[int(own.input_positions[i])] == word
        assert twin.tokenize(text).row(0) == own.clean_tokens.row(i)
    # A label that names the input names the new one.
    if "alpha" in own.labels:
        assert own.labels["alpha"].tolist() == list(own.inputs)


def test_the_chance_of_a_further_twin_by_hand() -> None:
    values = (0.1, 0.2, 0.3, 0.2, 0.2)
    mean, spread = np.mean(values), np.std(values, ddof=1)
    law = distributions.t(4, mean, spread * np.sqrt(1.2))
    assert chance(values, "greater", 0.4) == pytest.approx(law.sf(0.4))
    assert chance(values, "less", 0.1) == pytest.approx(law.cdf(0.1))
    assert chance(values, "equivalent", 0.3) == pytest.approx(law.cdf(0.3) - law.cdf(-0.3))
    known = distributions.norm(mean, spread)
    assert chance(values, "greater", 0.4, predictive=False) == pytest.approx(known.sf(0.4))
    wider = distributions.t(4, mean, np.sqrt(1.2 * spread**2 + 0.01))
    assert chance(values, "greater", 0.4, se=0.1) == pytest.approx(wider.sf(0.4))
    assert chance((0.1, 0.2), "greater", 0.0) == 0.0
    assert chance((0.5, 0.5, 0.5), "greater", 0.4) == 1.0
    assert [passes(x, "equivalent", 0.1) for x in (-0.2, -0.05, 0.2)] == [False, True, False]


def test_the_predictive_chance_is_as_often_as_it_says() -> None:
    rng, hits, n = np.random.default_rng(0), 0, 4000
    for _ in range(n):
        drawn, another = rng.normal(size=5), rng.normal()
        hits += chance(tuple(drawn), "greater", another) <= 0.05
    assert 0.04 <= hits / n <= 0.06


def judged(own: float, twins: tuple[float | None, ...]) -> tuple[str, Finding]:
    """C7a, one statement alone, with such a number and such twins."""
    draws = Draws(numbers=tuple({"C7 no single depth": x} for x in twins))
    findings = []
    for one in STATEMENTS:
        found = Estimate(value=own, se=0.01, n=100) if one.claim == "C7a" else None
        findings.append(
            make_finding(
                one.key, found, says=one.says, unit=one.unit, expect=one.expect,
                threshold=one.threshold,
                twin=draws.beside(one.key, found, one.expect, one.threshold),
            )
        )  # fmt: skip
    (verdict,) = (one.verdict for one in judge_claims(findings) if one.claim == "C7a")
    (finding,) = (one for one in findings if one.key == "C7 no single depth")
    return verdict, finding


@pytest.mark.parametrize(
    ("own", "twins", "verdict", "flat"),
    [
        (0.6, (), "supported", False),
        (0.6, (None,) * 5, "supported", False),
        (0.6, (0.01, 0.02, 0.03, 0.0, 0.01), "supported", False),
        (0.6, (0.5, 0.7, 0.6, 0.4, 0.5), "cannot tell", True),
        (0.6, (0.01, 0.02, 0.5, 0.0, 0.01), "cannot tell", True),  # one of five passes
        (0.6, (0.1, 0.15, 0.19, 0.1, 0.15), "supported", True),  # the next one may; far beyond
        (0.6, (0.5, None, None, None, None), "cannot tell", True),
        (0.1, (0.5, 0.7, 0.6, 0.4, 0.5), "contradicted", True),
    ],
)
def test_what_twins_pass_supports_nothing_by_itself(
    own: float, twins: tuple[float | None, ...], verdict: str, flat: bool
) -> None:
    found, finding = judged(own, twins)
    assert found == verdict
    assert finding.twin.by_architecture == flat
    assert finding.twin.n == len(twins)


def test_an_untrained_model_has_nothing_supported_by_itself(
    sharp: tuple[DepthModel, Task],
) -> None:
    model, task = sharp
    twin = untrained(model, seed=11)
    own = own_task(twin, task, seed=0, fewest=30)
    found = evaluate_claims(twin, own, twins_of="all")
    assert found.n_twins == 5
    assert [one.claim for one in found.claims if one.verdict == "supported"] == []
    beside = found.finding("C5 beats random").twin
    assert beside.by_architecture
    assert beside.share == 1.0
    # Measured for what is at stake alone, twins take away the same.
    at_stake = [one.claim for one in evaluate_claims(twin, own, twins=0).claims
                if one.verdict == "supported"]  # fmt: skip
    assert at_stake
    less = evaluate_claims(twin, own)
    assert [one.verdict for one in less.claims] == [one.verdict for one in found.claims]
    for one, whole in zip(less.findings, found.findings, strict=True):
        assert one.twin == (whole.twin if claim_of(one.key) in at_stake else Beside())


def test_one_twin_is_held_at_a_time(
    sharp: tuple[DepthModel, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lensdepth.claims import evaluate

    made: list[ref[object]] = []
    alive: list[int] = []

    def counted(model: DepthModel, *, seed: int) -> DepthModel:
        alive.append(sum(one() is not None for one in made))
        twin = untrained(model, seed=seed)
        made.append(ref(twin.model))
        return twin

    monkeypatch.setattr(evaluate, "untrained", counted)
    with shared():
        draw_twins(*sharp, 2, claims=["C1"], seed=0)
    assert alive == [0, 0]
    assert made[-1]() is None


def test_a_claim_is_measured_on_the_profiles_that_are_its_own(
    sharp: tuple[DepthModel, Task],
) -> None:
    model, task = sharp
    whole = complete_evidence(model, task)
    numbers = numbers_of(lay_grounds(task, whole, seed=0))
    for claim in TITLES:
        own = OF_CLAIM[claim[:2]]
        refused = {name: "left out" for name in PROFILES if name not in own}
        part = Evidence(**{name: getattr(whole, name) for name in own}, refused=refused)
        alone = numbers_of(lay_grounds(task, part, seed=0))
        for one in STATEMENTS:
            if one.claim == claim:
                assert alone[one.key] == numbers[one.key]


def test_late_depths_and_contrasts_alone_give_the_same_numbers(
    sharp: tuple[DepthModel, Task],
) -> None:
    """As ablations at all depths, contrasts at all depths, and doses measured by themselves."""
    model, task = sharp
    lean = complete_evidence(model, task, lean=True)
    assert lean.ablation is not None
    assert lean.contrasts is not None
    assert lean.ablation.depths.min() > 0
    every = Evidence(
        patch=lean.patch,
        ablation=ablation_sweep(model, task),
        dose=dose_response(model, task, depths="all", angles=(), factors=FACTORS),
        contrasts=contrast_sweep(model, task),
        refused=dict.fromkeys(("reading", "steering", "locality", "trajectory"), "left out"),
    )
    few, whole = (numbers_of(lay_grounds(task, one, seed=0)) for one in (lean, every))
    for one in STATEMENTS:
        if one.claim == "C5" or one.key == "C6 norm decides nothing":
            (alike, _), (found, why) = few[one.key], whole[one.key]
            assert found is not None, why
            assert alike is not None
            assert alike.found.value == pytest.approx(found.found.value, abs=1e-5), one.key


def test_without_twins_it_is_said(
    sharp: tuple[DepthModel, Task], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lensdepth.claims import evaluate, told

    def none(model: DepthModel, *, seed: int) -> DepthModel:
        raise ValueError("untrained: no untrained twin of 'm' can be made: too large.")

    model, task = sharp
    monkeypatch.setattr(evaluate, "untrained", none)
    draws = draw_twins(model, task, 5, seed=0)
    assert draws.numbers == ()
    found = evaluate_claims(model, task)
    assert found.verdict("C1") == "supported"
    (line,) = told.by_architecture(found)
    assert line.startswith("No untrained twin could be measured")
    assert "too large" in line
    assert line.endswith("statements are judged without them.")
    found.save(tmp_path / "c.safetensors")
    assert ClaimTable.load(tmp_path / "c.safetensors").findings == found.findings
    assert list(TITLES) == [one["claim"] for one in told.summary(found)["claims"]]


def test_of_a_twins_pairs_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lensdepth.steering.sweep")
    with unheard():
        log.warning("pairs of a twin are left out")
        # Other threads are heard all the same.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(log.warning, "pairs of a user").result()
    log.warning("more of them")
    assert [record.getMessage() for record in caplog.records] == ["pairs of a user", "more of them"]
