"""Claims on planted models, where the right verdicts are known."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lensdepth import ClaimTable, compare_models, evaluate_claims, load_model, load_task
from lensdepth.claims.coupling import coupled_over_deals, late_couplings
from lensdepth.claims.deals import Number
from lensdepth.claims.estimate import Estimate, rise_width
from lensdepth.claims.evaluate import judge_claims
from lensdepth.claims.measures import chosen_in_words
from lensdepth.claims.norms import chosen_for, norm_tells_context, shares_told
from lensdepth.claims.plan import claim_sweeps
from lensdepth.claims.result import make_finding
from lensdepth.claims.statements import STATEMENTS, TITLES
from lensdepth.claims.states import Geometry
from lensdepth.claims.zones import Zones, chosen_on_others, deal_groups, find_zones
from lensdepth.progress import watch
from lensdepth.provenance import Backend
from lensdepth.teaching import planted
from lensdepth.units import Grouping

pytestmark = pytest.mark.long

PAIRS = [(a, (a + k) % 12) for a in range(12) for k in (1, 4, 7)]
KINDS = [pair for a in range(6) for b in range(6) for pair in ((a, b + 6), (b + 6, a))]
Build = Callable[[Path], Path]


def evaluated(
    folder: Path,
    path: Path,
    pairs: Sequence[tuple[int, int]],
    outputs: list[int],
    backend: Backend,
    twins: int = 0,
) -> ClaimTable:
    model = load_model(folder, backend=backend)
    file = planted.prompt_file(path / "p.csv", list(pairs), outputs, planted.WORDINGS)
    return evaluate_claims(model, load_task(file, model), twins=twins)


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> ClaimTable:
    path = tmp_path_factory.mktemp("sharp")
    folder = planted.switch(path / "m", n_layers=7, layer=3, noise=0.15)
    return evaluated(folder, path, PAIRS, list(range(12)), "bridge", twins=5)


def test_a_sharp_switch_in_one_block(sharp: ClaimTable) -> None:
    verdicts = {one.claim: one.verdict for one in sharp.claims}
    assert [verdicts[c] for c in ("C1", "C2", "C5")] == ["supported"] * 3
    # One block does it all, and the states move with it: nothing is gradual or global here.
    assert [verdicts[c] for c in ("C3", "C7a", "C7b", "C7c")] == ["contradicted"] * 4
    assert sharp.verdict("C6") == "cannot tell"
    assert sharp.finding("C1 width").effect == pytest.approx(0.8 / 7, abs=1e-6)
    assert (sharp.accuracy, sharp.located, sharp.n_pairs, sharp.n_prompts) == (1.0, 1.0, 144, 48)


def test_a_copy_in_the_first_block_is_no_transition(tmp_path: Path, backend: Backend) -> None:
    folder = planted.switch(tmp_path / "m", n_layers=7, layer=0, noise=0.15)
    found = evaluated(folder, tmp_path, PAIRS, list(range(12)), backend)
    assert [found.verdict(c) for c in ("C1", "C2")] == ["contradicted"] * 2


def test_where_the_norm_decides(tmp_path: Path, backend: Backend) -> None:
    folder = planted.gate(tmp_path / "m", n_layers=7, stretch=2, weigh=5)
    found = evaluated(folder, tmp_path, KINDS, [0] * 6 + [1] * 6, backend)
    assert [found.verdict(c) for c in ("C5", "C6")] == ["contradicted"] * 2
    assert found.finding("C5 norm does nothing").stands == "contradicted"


def test_a_switch_spread_over_six_blocks_is_not_sharp(tmp_path: Path) -> None:
    folder = planted.gradual(tmp_path / "m", n_layers=8, layers=range(1, 7), noise=0.15)
    found = evaluated(folder, tmp_path, PAIRS, list(range(12)), "bridge")
    assert found.verdict("C1") == "contradicted"
    assert found.finding("C1 handover").stands == "supported"
    assert found.finding("C7 no single depth").stands == "supported"
    # Equal parts in six blocks of eight: with k of them patched the state is "is" (length 3) and
    # 6 k / 6 of one input, 6 (1 - k / 6) of the other, and the logits are its parts over its norm.
    part = np.arange(7) / 6
    norm = np.sqrt(1 + 4 * (part**2 + (1 - part) ** 2))
    by_hand = (1 + (2 * part - 1) * norm[-1] / norm) / 2
    expected = rise_width(np.concatenate([[0], by_hand, [1]]))
    assert found.finding("C1 width").effect == pytest.approx(expected, abs=0.02)


def test_prompts_that_switch_at_different_depths_are_each_sharp(tmp_path: Path) -> None:
    """The mean curve is as gradual as the prompts are different; no prompt is."""
    blocks = {i: 2 if i < 6 else 5 for i in range(12)}
    folder = planted.switch(tmp_path / "m", n_layers=8, layer=blocks, noise=0.15)
    pairs = [(a, (a + k) % 6 + 6 * (a >= 6)) for a in range(12) for k in (1, 2, 4)]
    found = evaluated(folder, tmp_path, pairs, list(range(12)), "bridge")
    assert found.finding("C1 width").effect == pytest.approx(0.8 / 8, abs=0.01)
    # Half of them three depths away from the median of either half.
    assert found.finding("C1 spread").effect == pytest.approx(3 / 8 / 2, abs=0.03)


def test_a_model_that_does_not_do_the_task_settles_nothing(tmp_path: Path) -> None:
    folder = planted.deaf(tmp_path / "m", n_layers=7, noise=0.15)
    found = evaluated(folder, tmp_path, PAIRS, list(range(12)), "bridge")
    assert {one.verdict for one in found.claims} == {"cannot tell"}
    assert "answers 0% of the pairs rightly" in found.claims[0].reason
    assert np.isnan(found.to_frame().effect).all()


def test_few_blocks_settle_nothing(tiny_table: ClaimTable) -> None:
    assert {one.verdict for one in tiny_table.claims} == {"cannot tell"}
    assert "the model has 3 blocks" in tiny_table.claims[0].reason


@pytest.fixture(scope="module")
def tiny_table() -> ClaimTable:
    model = load_model("tiny")
    return evaluate_claims(model, load_task("months", model, n=30), batch_size=7)


def test_its_bounds_stand_in_the_settings(tiny_table: ClaimTable) -> None:
    settings = tiny_table.provenance.settings
    assert settings == {
        "twins": 5, "twins_of": "supported", "depths": None, "control_pairs": 64,
        "batch_size": 7, "max_memory": None,
    }  # fmt: skip


def test_it_saves_loads_and_lists_every_statement(sharp: ClaimTable, tmp_path: Path) -> None:
    sharp.save(tmp_path / "c.safetensors")
    again = ClaimTable.load(tmp_path / "c.safetensors")
    assert (again.claims, again.findings) == (sharp.claims, sharp.findings)
    assert torch.equal(again.handover, sharp.handover)
    frame = sharp.to_frame()
    assert frame[frame.expect.notna()].statement.tolist() == [one.key for one in STATEMENTS]
    assert frame[frame.decisive].claim.tolist() == list(TITLES)
    assert len(sharp.plot().to_plotly_json()["data"]) >= 3
    with pytest.raises(KeyError, match="there is no claim 'C8'"):
        sharp.verdict("C8")


def test_models_side_by_side(sharp: ClaimTable, tiny_table: ClaimTable) -> None:
    frame = compare_models([sharp, sharp])
    assert len(frame) == 2 * len(TITLES)
    assert frame.handover_at.iloc[0] == pytest.approx(0.5)
    assert frame.passes_at.iloc[0] == pytest.approx(0.5)
    assert len(sharp.twin_places) == sharp.n_twins
    with pytest.raises(ValueError, match="of other tasks"):
        compare_models([sharp, tiny_table])
    from dataclasses import replace

    model = replace(sharp.provenance.model, dtype="bfloat16")
    other = replace(sharp, provenance=replace(sharp.provenance, model=model))
    with pytest.raises(ValueError, match=r"float32 and bfloat16.*--mix-numerics"):
        compare_models([sharp, other])
    assert len(compare_models([sharp, other], allow_mixed=True)) == 2 * len(TITLES)


def test_no_pair_helps_to_choose_its_own_depths() -> None:
    rng = np.random.default_rng(0)
    clean, corrupted = ([f"p{i}" for i in rng.integers(0, 40, 90)] for _ in range(2))
    group = deal_groups(clean, corrupted, seed=0)
    seen = np.zeros(90, dtype=int)
    for mine, chosen in chosen_on_others(group):
        seen += mine
        prompts = {p for i in np.flatnonzero(mine) for p in (clean[i], corrupted[i])}
        others = {p for i in np.flatnonzero(chosen) for p in (clean[i], corrupted[i])}
        assert not prompts & others
    assert (seen == 1).all()


def test_zones_leave_out_the_ends_and_the_crossing() -> None:
    at_input = np.tile([1.0, 1, 1, 1, 0, 0, 0, 0, 0], (40, 1))
    group = np.stack([np.arange(40) % 5] * 2, axis=1)
    zones = find_zones(at_input, 1 - at_input, group)
    assert (zones.crossing == 3.5).all()
    assert np.flatnonzero(zones.early[0]).tolist() == [1, 2, 3]
    assert np.flatnonzero(zones.late[0]).tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="4 pairs without a prompt in common"):
        find_zones(at_input[:5], 1 - at_input[:5], group[:5])


def test_the_norm_tells_a_label_only_where_it_does() -> None:
    rng, n = np.random.default_rng(0), 200
    label = np.arange(n) % 4
    group = np.stack([rng.integers(0, 5, n)] * 2, axis=1)
    noise = rng.normal(0, 1, (n, 5))
    told = noise + np.array([0, 0, 2.0, 0, 0]) * label[:, None]
    # Labels spread by 2 explain 5 of the 6 parts of the variance.
    found = norm_tells_context(told, {"a": label}, group, ())
    assert found.value == pytest.approx(5 / 6, abs=0.05)
    assert norm_tells_context(noise, {"a": label}, group, ()).value < 0.05


def test_late_depths_are_judged_and_named_where_late_depths_are_meant() -> None:
    rng, n = np.random.default_rng(0), 200
    label, other = np.arange(n) % 4, rng.integers(0, 4, n)
    labels = {"a": label, "b": other}
    group = np.stack([rng.integers(0, 5, n)] * 2, axis=1)
    told = rng.normal(0, 1, (n, 6))
    told[:, 1] += 20.0 * label  # early, and told best
    told[:, 3] += 2.0 * label
    told[:, 5] += 20.0 * label  # depth L has no say
    late = np.tile(np.arange(6) >= 3, (n, 1))
    assert set(chosen_for(told, labels, group)) == {("a", 1)}
    assert set(chosen_for(told, labels, group, late)) == {("a", 3)}
    assert norm_tells_context(told, labels, group, ()).value > 0.99
    found = norm_tells_context(told, labels, group, (), late)
    assert found.value == pytest.approx(5 / 6, abs=0.05)
    assert shares_told(told[..., None], labels, group, late)[0] == pytest.approx(found.value)
    nowhere = np.tile(np.arange(6) == 4, (n, 1))
    assert norm_tells_context(told, labels, group, (), nowhere).value < 0.05


def test_what_was_chosen_is_said() -> None:
    assert chosen_in_words([("a", 3)] * 4, "mine.csv") == (
        "chosen on other prompts: the label a at depth 3"
    )
    some = [("beta", 7)] * 6 + [("beta", 8)] * 3 + [("kind", 7)]
    assert chosen_in_words(some, "months") == (
        "chosen on other prompts: the label beta (the count) at depth 7 most often (60%), of "
        "depths 7 to 8 and labels beta (the count), kind"
    )
    found = Number(found=Estimate(value=0.3, se=0.1, n=9), note="chosen on other prompts: x")
    assert make_finding("C6 x", found, says="", unit="", reason="weak").reason == (
        "weak; chosen on other prompts: x"
    )


def coupled(angles: bool) -> tuple[Geometry, Zones]:
    """Predictions round a circle, told at depth 2 by the angle of the state or by its norm."""
    rng, n = np.random.default_rng(0), 150
    theta = rng.uniform(0, np.pi, n)
    logits = 3 * np.cos(theta[:, None] - np.linspace(0, np.pi, 12))
    turned = theta if angles else rng.uniform(0, np.pi, n)
    norm = rng.uniform(1, 2, n) if angles else 1 + theta
    told = norm[:, None] * np.stack([np.cos(turned), np.sin(turned), 0 * theta], axis=1)
    states = np.stack([rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), told, told])
    group = np.stack([np.arange(n) % 5] * 2, axis=1)
    early, late = (np.tile(np.arange(4) == d, (5, 1)) for d in (1, 2))
    nothing = np.zeros((n, 4))
    geometry = Geometry(
        states=torch.from_numpy(states).float(),
        log_probs=torch.from_numpy(logits).log_softmax(-1).float(),
        norm=nothing,
        similarity=nothing,
        curvature=nothing,
    )
    zones = Zones(
        group=group,
        crossing=nothing[:, 0],
        early=early[group[:, 0]],
        late=late[group[:, 0]],
        group_early=early,
        group_late=late,
    )
    return geometry, zones


@pytest.mark.parametrize("angles", [True, False])
def test_angles_are_coupled_where_they_were_planted(angles: bool) -> None:
    geometry, zones = coupled(angles)
    prompts = [f"p{i}" for i in range(len(zones.group))]

    def number(word: str) -> float:
        found = coupled_over_deals([late_couplings(prompts, geometry, zones)], word, prompts, ())
        assert found is not None
        return found.found.value

    if angles:
        assert number("late angle") > 0.9
        assert number("late more than early") > 0.8
        assert number("angle more than norm") > 0.8
    else:
        assert abs(number("late angle")) < 0.2
        assert number("angle more than norm") < -0.8


def test_the_written_table_is_that_of_the_statements() -> None:
    """Claim by claim: titles, and of each statement the aim and whose it is."""
    text = (Path(__file__).parents[1] / "docs" / "claims.md").read_text()
    table = text.split("| claim | statement | aim |")[1].split("\n\n")[0].splitlines()[2:]
    written = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]
    written = [
        row if line[2] != "|" else ["", *row] for row, line in zip(written, table, strict=True)
    ]
    titles = [row[0] for row in written if row[0]]
    assert titles == [f"{claim} {title}" for claim, title in TITLES.items()]
    signs = {"greater": "> {:g}", "less": "< {:g}", "equivalent": "within ± {:g}"}
    assert [(row[2], row[3]) for row in written] == [
        (signs[one.expect].format(one.threshold), one.origin) for one in STATEMENTS
    ]
    claims = [row[0].split()[0] for row in written if row[0]]
    assert list(dict.fromkeys(one.claim for one in STATEMENTS)) == claims


def test_a_coupling_is_no_surer_than_its_words() -> None:
    """Pulls of prompts that go together are added up before they are squared."""
    geometry, zones = coupled(True)
    n = len(zones.group)
    prompts = [f"p{i}" for i in range(n)]
    deal = [late_couplings(prompts, geometry, zones)]
    words = Grouping(name="word", values=tuple(str(i // 8) for i in range(n)))
    alone, together = (
        coupled_over_deals(deal, "late angle", prompts, units) for units in ((), (words,))
    )
    assert alone is not None
    assert together is not None
    assert deal[0] is not None
    pull = deal[0].influence["late angle"]
    assert alone.found.se == pytest.approx(
        max(np.sqrt((pull**2).sum() * n / (n - 1)), 1 / n), rel=1e-6
    )
    sums = np.array([pull[i : i + 8].sum() for i in range(0, n, 8)])
    assert together.found.n == len(sums)
    assert together.found.se == pytest.approx(
        max(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)), alone.found.se), rel=0.05
    )
    four = (Grouping(name="word", values=tuple(str(i % 4) for i in range(n))),)
    assert coupled_over_deals(deal, "late angle", prompts, four) is None


def test_unmeasured_statements_leave_a_claim_open(sharp: ClaimTable) -> None:
    from dataclasses import replace

    def without(one, key):
        gone = {"effect": None, "low": None, "high": None, "p_for": 1.0, "p_against": 1.0}
        return replace(one, reason="why", **gone) if one.key == key else one

    findings = [without(f, "C1 width") for f in sharp.findings if f.expect is not None]
    first = judge_claims(findings)[0]
    assert (first.verdict, first.reason) == ("cannot tell", "why")


def test_json_round_trips(sharp: ClaimTable) -> None:
    from lensdepth.claims.told import summary as claims_summary

    summary = json.loads(json.dumps(claims_summary(sharp), allow_nan=False))
    assert [one["claim"] for one in summary["claims"]] == list(TITLES)
    for one in summary["claims"]:
        assert one["verdict"] in ("supported", "contradicted", "cannot tell")
        assert {"effect", "low", "high", "p", "n", "unit", "threshold", "reason"} <= set(one)


def test_the_plan_counts_the_sweeps_that_are_run(tmp_path: Path) -> None:
    folder = planted.switch(tmp_path / "m", n_layers=7, layer=3, noise=0.15)
    file = planted.prompt_file(tmp_path / "p.csv", PAIRS, list(range(12)), planted.WORDINGS)
    model = load_model(folder)
    task = load_task(file, model)
    run: dict[str, int] = {}
    last: list[tuple[str, int, int]] = []

    def heard(what: str, done: int, total: int) -> None:
        # Between two passes the same is said again.
        if done == 0 and last[-1:] != [(what, done, total)]:
            run[what] = run.get(what, 0) + total
        last.append((what, done, total))

    with watch(heard):
        evaluate_claims(model, task, twins=0)
    planned = dict(claim_sweeps(model.n_layers, len(task)))
    names = ("patch at", "ablate", "steer", "attention alone", "stretch")
    told = ("patching", "ablating", "steering", "local and global", "contrasting")
    # The profiles, one after the other, and each of them; before these prompts are read.
    assert set(run) == {"reading", "claims", *told}
    for name, what in zip(names, told, strict=True):
        expected = next(n for key, n in planned.items() if key.startswith(name))
        # A run's own states put back are one run more; controls skip pairs that have none.
        assert expected / 2 < run[what] <= expected + 2 * len(task)
