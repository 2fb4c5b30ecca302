"""What all sweeps share: one signature, metrics by name and by function, blocks, provenance."""

import inspect
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor

import lensdepth
from lensdepth import (
    Condition,
    DepthModel,
    Hypothesis,
    Task,
    ablation_sweep,
    dose_response,
    evaluate_hypotheses,
    load_task,
    metrics,
    patch_sweep,
    steering_sweep,
)
from lensdepth.analyses import analysis
from lensdepth.bounds import bounds
from lensdepth.passes import Passes
from lensdepth.sweep import blocks
from lensdepth.sweep.controls import controlled, depth_noise
from lensdepth.sweep.readings import METRICS
from lensdepth.sweep.runs import Run, RunSets

Sweep = Callable[..., Any]
SWEEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "ablation_sweep": ("transferred", {"depths": [1, 2]}),
    "choose_depths": ("alone", {"depths": [1, 2], "n_sites": 2}),
    "compare_local_global": ("local", {"depths": [1, 2]}),
    "dose_response": ("transferred", {"depths": [1, 2], "factors": (2.0,), "angles": (1.0,)}),
    "patch_components": ("transferred", {"components": "L1H0", "n_random": 1}),
    "patch_sweep": ("transferred", {"depths": [1, 2]}),
    "patch_windows": ("transferred", {"depths": [1, 2]}),
    "shapley_depths": ("values", {"depths": [1, 2]}),
    "steering_sweep": ("success", {"depths": [1, 2], "n_folds": 3}),
    "subspace_sweep": ("transferred", {"depths": [1, 2], "dims": [2], "bases": ("pca",)}),
    "transfer_matrix": ("transferred", {"depths": [1, 2]}),
}
"""Sweeps that read a metric, an array of their results, and options that make them quick."""
OTHERS: dict[str, dict[str, Any]] = {
    "attention_patterns": {},
    "attribute_logits": {},
    "circuit_graph": {"top": 2, "edges": 2},
    "check_readiness": {"probe": False},
    "confidence_response": {"depths": [1, 2], "factors": (2.0,)},
    "decode_parts": {"depths": [1, 2], "n_folds": 2, "n_permutations": 10},
    "fit_tuned_lens": {"n_steps": 2},
    "geometry_profile": {"n_permutations": 10, "n_resamples": 10},
    "find_landmarks": {"depths": [1, 2], "n_halves": 20},
    "compare_mistakes": {"n_permutations": 20},
    "logit_lens": {},
    "patch_edge": {"upstream": "L0H0@prediction", "downstream": "MLP1@prediction"},
    "pair_table": {"depth": 1},
    "trajectory_response": {"depths": [1, 2]},
}


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=60)


def run(name: str, model: DepthModel, task: Task, **options: Any) -> Any:
    return getattr(lensdepth, name)(model, task, **options)


ANALYSES = sorted(
    name
    for name in lensdepth.__all__
    if inspect.isfunction(one := getattr(lensdepth, name))
    and list(inspect.signature(one).parameters)[:2] == ["model", "task"]
    and name != "text_span"
)
"""Every public function that measures a task on a model."""
BY_PLACE = {
    "upstream",
    "downstream",
    "graph",
    "components",
    "hypotheses",
    "evidence",
    "crossing",
    "folder",
    "vector",
}
"""What may go without its name behind model and task, where it is what the call is about."""
OWN_DEFAULTS = {"positions", "scopes", "also", "n_folds", "factors", "n_random"}
"""Words that mean the same everywhere, and of which each analysis has what suits it."""


def test_every_analysis_is_asked_here() -> None:
    assert {*SWEEPS, *OTHERS} <= set(ANALYSES)
    above = {
        "build_report", "capture", "complete_evidence", "evaluate_claims",
        "evaluate_hypotheses", "find_holder", "graph_faithfulness", "locate_crossing",
        "plan_report", "vector_response",
    }  # fmt: skip
    assert set(ANALYSES) - {*SWEEPS, *OTHERS} == above


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_takes_a_model_a_task_and_options(name: str) -> None:
    parameters = list(inspect.signature(getattr(lensdepth, name)).parameters.values())
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place[:2] == ["model", "task"]
    assert set(by_place[2:]) <= BY_PLACE
    defaults = {p.name: p.default for p in parameters}
    shared = {
        "depths": None, "mode": "denoise", "seed": 0, "engine": "auto", "max_memory": None,
        "batch_size": None, "metric": "logit_diff", "edit": "full", "stream": "resid_pre",
        "coordinates": "raw", "position": "prediction", "reference": None,
    }  # fmt: skip
    assert all(defaults[word] == shared[word] for word in defaults.keys() & shared.keys())
    assert {"batch_size", "max_memory"} <= defaults.keys()


def test_a_word_means_one_thing_in_all_analyses() -> None:
    """The same kind and, but for those that each has its own of, the same default."""
    words: dict[str, dict[str, tuple[str, Any]]] = defaultdict(dict)
    for name in ANALYSES:
        for p in inspect.signature(getattr(lensdepth, name)).parameters.values():
            words[p.name][name] = (str(p.annotation), p.default)
    for word, by_name in words.items():
        if word not in OWN_DEFAULTS | {"model", "task"}:
            assert len({default for _, default in by_name.values()}) == 1, (word, by_name)
        if word not in KINDS:
            assert len({kind for kind, _ in by_name.values()}) == 1, (word, by_name)


def test_words_stand_in_one_order_in_all_analyses() -> None:
    """No two of them the one way round here and the other way there."""
    orders: dict[tuple[str, str], str] = {}
    for name in ANALYSES:
        words = inspect.signature(getattr(lensdepth, name)).parameters
        orders |= dict.fromkeys(combinations(words, 2), name)
    turned = {
        (first, second, name, orders[second, first])
        for (first, second), name in orders.items()
        if (second, first) in orders
    }
    assert turned == set()


CONTROLLED = {
    "ablation_sweep": {"edit": "random_direction", "scope": None},
    "dose_response": {"dose": 1},
    "patch_sweep": {"control": "shuffled_source"},
    "steering_sweep": {"edit": "shuffled", "scope": None},
    "subspace_sweep": {"basis": "random", "dim": None},
}
"""Sweeps with controls, and a label of one; of the dose, the whole turn in a random direction."""
KEYS = {
    "ablation_sweep": "ablation", "dose_response": "dose", "patch_sweep": "patch",
    "steering_sweep": "steering", "subspace_sweep": "subspaces",
}  # fmt: skip
"""What their analyses are called."""


@pytest.mark.parametrize("name", CONTROLLED)
def test_controls_are_run_on_some_pairs_with_the_numbers_that_all_would_give(
    trained: DepthModel, months: Task, name: str
) -> None:
    options, label = SWEEPS[name][1], CONTROLLED[name]
    some, every = (
        run(name, trained, months, **options, control_pairs=n) for n in (20, "all")
    )  # fmt: skip
    control, whole = (one.outcome.at(**label).of() for one in (some, every))
    ran = rearrange(control, "pair ... -> pair (...)").isfinite().all(1)
    assert ran.sum() == 20
    assert torch.equal(ran, controlled(60, 20, some.provenance.seed))
    assert control[~ran].isnan().all()
    torch.testing.assert_close(control[ran], whole[ran], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(  # what is no control is run on all
        some.outcome.at(**dict.fromkeys(label)).of(), every.outcome.at(**dict.fromkeys(label)).of(),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip
    said = {n: analysis(KEYS[name]).notes(one) for n, one in (("some", some), ("all", every))}
    ran_on = "ontrols were run on 20 of the 60 pairs, drawn at random."
    assert [note for note in said["some"] if note.endswith(ran_on)]
    assert not [note for note in said["all"] if "ontrols" in note]
    with pytest.raises(ValueError, match="control_pairs must be at least 1, got 0"):
        run(name, trained, months, **options, control_pairs=0)


def test_what_a_dose_leaves_alone_is_the_base_run(trained: DepthModel, months: Task) -> None:
    found = dose_response(trained, months, depths=[1, 2], angles=(0.0, 1.0), factors=(1.0, 2.0))
    for dose, (part, size) in enumerate(zip(found.parts, found.doses.tolist(), strict=True)):
        still = size == (1.0 if part == "norm" else 0.0)
        assert (found.outcome.at(dose=dose).change() == 0).all() == still


KINDS = {"task", "positions", "position", "depths"}
"""Lenses take prompts too; what is read has positions of tokens, what is edited also spans. Depths
are found where patching alone, or all of the evidence, can do with some."""


def forward_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Prompts and tokens of every pass from now on."""
    seen: list[tuple[int, int]] = []
    for method in ("capture", "capture_whole"):
        whole = getattr(Passes, method)

        def counted(self: Passes, batch: Any, *rest: Any, whole: Any = whole, **more: Any) -> Any:
            seen.append((len(batch), batch.tokens.shape[1]))
            return whole(self, batch, *rest, **more)

        monkeypatch.setattr(Passes, method, counted)
    return seen


@pytest.mark.parametrize("name", sorted({*SWEEPS, *OTHERS} - {"fit_tuned_lens"}))
def test_batch_size_and_memory_bound_every_pass(
    trained: DepthModel, months: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = OTHERS[name] if name in OTHERS else SWEEPS[name][1]
    seen = forward_sizes(monkeypatch)
    found = run(name, trained, months, **options, batch_size=25)
    assert max(n for n, _ in seen) == 25
    assert found.provenance.settings["batch_size"] == 25
    width = seen[0][1]
    seen.clear()
    # Twice what fifteen prompts need: replays leave half of it to what they keep.
    memory = 2 * 15 * width * trained.passes.token_bytes(width)
    run(name, trained, months, **options, max_memory=memory)
    assert max(n for n, _ in seen) <= 30
    assert len(seen) > 1
    assert bounds() == (None, None)  # nothing is left of them
    with pytest.raises(ValueError, match=f"{name}: max_memory must be a number of bytes, got 0"):
        run(name, trained, months, **options, max_memory=0)


def test_what_an_analysis_calls_keeps_to_its_bounds(
    trained: DepthModel, months: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = forward_sizes(monkeypatch)
    one = Hypothesis(
        name="one",
        first=Condition(intervention="patch", position="prediction"),
        by=0.1,
        depths="all",
    )
    evaluate_hypotheses(trained, months, [one], batch_size=5)
    assert 0 < max(n for n, _ in seen) <= 5


@pytest.mark.parametrize("name", sorted({*SWEEPS, *OTHERS}))
def test_provenance_holds_every_option_under_its_name(
    trained: DepthModel, months: Task, name: str
) -> None:
    options = OTHERS[name] if name in OTHERS else SWEEPS[name][1]
    provenance = run(name, trained, months, **options).provenance
    assert (provenance.joining, provenance.task) == (months.joining, "months")
    settings = provenance.settings
    parameters = inspect.signature(getattr(lensdepth, name)).parameters
    asked = {p.name for p in parameters.values()} - {"model", "task", "seed"}
    assert asked <= settings.keys()
    for option in options.keys() - {"components"}:
        given = options[option]
        assert settings[option] == (list(given) if isinstance(given, tuple) else given)


def margin(logits: Tensor, pairs: Tensor) -> Tensor:
    """Twice the log-odds of two tokens, and the pair's number, so that both must be right."""
    return 2 * (logits[:, 5] - logits[:, 7]) + 100 * pairs


@pytest.mark.parametrize("name", sorted(SWEEPS))
def test_a_metric_of_ones_own_goes_into_every_sweep(
    trained: DepthModel, months: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees the pairs of the task, in however many blocks these go through."""
    array, options = SWEEPS[name]
    read = {"metric": margin} | ({"also": ("success",)} if name == "steering_sweep" else {})
    whole = run(name, trained, months, **options, **read)
    seen: list[int] = []

    def told(logits: Tensor, pairs: Tensor) -> Tensor:
        seen.extend(pairs.tolist())
        return margin(logits, pairs)

    monkeypatch.setattr(blocks, "STATE_BYTES", 20_000)
    parts = run(name, trained, months, **options, **{**read, "metric": told})
    assert set(seen) == set(range(len(months)))
    assert whole.provenance.settings["metric"] == "margin"
    torch.testing.assert_close(
        getattr(whole, array), getattr(parts, array), atol=1e-3, rtol=1e-3, equal_nan=True
    )

    def wrong(logits: Tensor, pairs: Tensor) -> Tensor:
        return logits

    with pytest.raises(ValueError, match="the function must give one number a run, a tensor of"):
        run(name, trained, months, **options, **{**read, "metric": wrong})


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_metrics_are_what_their_names_say(trained: DepthModel, capitals: Task, metric: str) -> None:
    found = patch_sweep(
        trained, capitals, metric=metric, also=(), depths=[2], positions=("prediction",)
    )
    assert capitals.corrupted_tokens is not None
    assert capitals.target_ids is not None
    assert capitals.foil_ids is not None
    base, source = trained.logits(capitals.corrupted_tokens), trained.logits(capitals.clean_tokens)
    states = trained.residual_stream(capitals.clean_tokens).resid[2, :, 0]
    edit = lensdepth.hooks.SiteEdit(  # type: ignore[attr-defined]
        hook="blocks.1.hook_resid_post",
        positions=capitals.corrupted_tokens.last,
        edit=lensdepth.polar.full_swap,  # type: ignore[attr-defined]
        source=states,
    )
    edited = next(trained.run_edits(capitals.corrupted_tokens, [[edit]]))[:, 0]
    target, foil = capitals.target_ids, capitals.foil_ids
    rows = torch.arange(len(capitals))
    p = edited.softmax(-1)
    others = torch.stack(
        [
            row[[i for i in range(len(row)) if i not in answers]].mean()
            for row, *answers in zip(edited, target.tolist(), foil.tolist(), strict=True)
        ]
    )
    by_hand = {
        "logit_diff": edited[rows, target] - edited[rows, foil],
        "target_logit": edited[rows, target] - others,
        "foil_logit": edited[rows, foil] - others,
        "log_prob": p[rows, target].log(),
        "answer_probability": p[rows, target],
        "kl": metrics.kl_divergence(base[:, 0], edited),
        "kl_to_source": metrics.kl_divergence(source[:, 0], edited),
        "js": metrics.js_divergence(base[:, 0], edited),
        "flip": (edited.argmax(-1) != base[:, 0].argmax(-1)).float(),
        "success": (edited.argmax(-1) == target).float(),
        "preference": (edited[rows, target] > edited[rows, foil]).float(),
    }
    torch.testing.assert_close(found.of(metric)[:, 0, 0], by_hand[metric], atol=1e-4, rtol=1e-4)


def test_runs_fill_their_cells() -> None:
    """By hand: two entries of one run, a run that moves nothing, pairs that are not there."""
    at = torch.tensor([[3], [4], [-1]])
    state = [torch.zeros(3, 1, 2)]
    common = {"hooks": ["h"], "tokens": at, "states": state, "edit": lambda b, s: b}
    there, all_there = torch.tensor([True, True, False]), torch.ones(3, dtype=torch.bool)
    runs = [
        Run(cells=[(0, 0), (1, 1)], there=there, **common),  # type: ignore[arg-type]
        Run(cells=[(0, 1)], there=all_there, moves=~all_there, **common),  # type: ignore[arg-type]
    ]
    sets = RunSets(runs, 3)
    assert len(sets.sets) == 2  # the base run, and the one that changes something
    assert sets.only.tolist() == [[True] * 3, [True, True, False]]
    read = torch.tensor([[[1.0, 2.0, 3.0], [10.0, 20.0, torch.nan]]])
    filled = sets.filled(read, (2, 2))[0]
    assert filled[0, 0].tolist()[:2] == filled[1, 1].tolist()[:2] == [10.0, 20.0]
    assert filled[0, 0, 2].isnan()
    assert filled[0, 1].tolist() == [1.0, 2.0, 3.0]
    assert filled[1, 0].isnan().all()


ALWAYS_TASK = {
    "ablation_sweep", "choose_depths", "dose_response", "steering_sweep", "subspace_sweep",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*SWEEPS, "trajectory_response"} - ALWAYS_TASK))
def test_the_old_name_of_the_task_is_taken_with_a_warning(
    trained: DepthModel, months: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"depths": [1]} if name not in SWEEPS else SWEEPS[name][1]
    function = getattr(lensdepth, name)
    with pytest.warns(DeprecationWarning, match=f"{name}: the argument pairs is called task"):
        function(trained, pairs=months, **options)
    monkeypatch.setattr(Passes, "forward", lambda *_: pytest.fail("a forward pass ran"))
    with pytest.raises(TypeError, match="pairs is the old name of task; give one of them"):
        function(trained, pairs=months, task=months, **options)


AT_ONE_PLACE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dose_response": ("position", "logit_diff", {"depths": [1, 3], "factors": (2.0,)}),
    "decode_parts": ("position", "score", OTHERS["decode_parts"]),
    "trajectory_response": ("read", "angle_to_source", {"depths": [1]}),
    "compare_local_global": ("position", "local", {"depths": [1]}),
}


@pytest.mark.parametrize("name", AT_ONE_PLACE)
def test_a_position_is_a_name_or_an_index_everywhere(
    trained: DepthModel, months: Task, name: str
) -> None:
    option, array, options = AT_ONE_PLACE[name]
    by_name, by_index = (
        run(name, trained, months, **options, **{option: at}) for at in ("prediction", -1)
    )
    torch.testing.assert_close(
        getattr(by_name, array), getattr(by_index, array), atol=1e-4, rtol=1e-4, equal_nan=True
    )
    if name == "dose_response":  # and so it is known what the final norm settles there
        assert by_name.identity_depth == by_index.identity_depth == trained.n_layers
        first = run(name, trained, months, **options, position=1)
        assert first.at_end == "never"
    with pytest.raises(ValueError, match=r"(99|read 99) lies outside"):
        run(name, trained, months, **options, **{option: 99})


def test_a_random_direction_goes_by_pair_and_depth_alone() -> None:
    whole = depth_noise(range(4), range(6), (2, 3), seed=7)
    assert whole.shape == (6, 4, 2, 3)
    some = depth_noise(range(1, 4), [5, 2], (2, 3), seed=7)
    assert torch.equal(some, whole[[5, 2], 1:])
    assert not torch.equal(some, depth_noise(range(1, 4), [5, 2], (2, 3), seed=8))


@pytest.mark.parametrize(
    ("sweep", "wanted"),
    [
        (ablation_sweep, ("norm", "random_direction")),
        (steering_sweep, ("full", "shuffled")),
    ],
)
def test_edits_that_are_asked_for_alone_have_the_numbers_of_all(
    trained: DepthModel, months: Task, sweep: Any, wanted: tuple[str, str]
) -> None:
    task = months
    whole, some = sweep(trained, task), sweep(trained, task, edits=wanted[::-1], depths=[1, 2])
    assert some.provenance.settings["edits"] == list(wanted)
    assert some.edits == whole.edits
    for edit in whole.edits:
        found = some.of("success", edit=edit)
        if edit in wanted:
            expected = whole.of("success", edit=edit)[:, :, 1:3]
            torch.testing.assert_close(found, expected, equal_nan=True)
        else:
            assert found.isnan().all()
    told = analysis(some.provenance.analysis.removesuffix("_sweep"))
    assert told.sentences(some)
    assert told.summary(some)
    assert len(some.to_frame()) > 0
    with pytest.raises(ValueError, match="edits must be a list of some of"):
        sweep(trained, task, edits=["nothing"])
    with pytest.raises(ValueError, match="edits must be a list of some of"):
        sweep(trained, task, edits=[])
