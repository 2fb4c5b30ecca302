"""Every public result has a table, a figure and a file, and `load` opens any of them."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
import results
import torch

import lensdepth
from lensdepth.claims import Condition, Hypothesis, evaluate_hypotheses
from lensdepth.lens import compare_lenses
from lensdepth.model import DepthModel
from lensdepth.report.measure import measure
from lensdepth.saved import RESULTS
from lensdepth.tasks import Task, load_task
from lensdepth.transition import compare_order, compare_widths

NO_FILE = {"Report", "Sweep", "Task"}
"""A report is a page with its tables, a task a prompt file, a sweep a folder."""
OVER_NOTHING = {
    "ClaimTable", "HypothesisTable", "CircuitResult", "Intervention", "WidthComparison",
    "ChangePoint", "CircuitGraph", "ContinuationDose", "DepthComparison", "LandmarkComparison",
    "OrderComparison", "Readiness", "ReportComparison", "ReportPlan", "Transition", "TunedLens",
    "VectorResponse",
}  # fmt: skip
"""Results whose rows are statements, runs, tokens or one place."""
PROMPT = "Two months from January is"


@pytest.fixture(scope="module")
def made(trained: DepthModel) -> dict[str, Any]:
    """One result of each kind: of a few pairs, or by hand where the library takes long."""
    task = load_task("months", trained, n=6)
    lens = lensdepth.logit_lens(trained, task)
    patch = lensdepth.patch_sweep(trained, task)
    transition = lensdepth.find_transition(lens, n_resamples=20)
    some: list[Any] = [
        lens, patch, transition,
        results.claims(), results.geometry(), results.steering(), results.decoding(),
        results.dose(), results.ablation(),
        compare_lenses(lens, lens, names=("a", "b")),
        compare_widths(transition, transition, n_resamples=20),
        compare_order(transition, transition),
        lensdepth.find_crossing(patch, n_resamples=20),
        lensdepth.locate_crossing(trained, task),
        lensdepth.find_change_point(lens.mean_by_depth(lens.kl), n_resamples=20),
        lensdepth.find_commitment(lens),
        lensdepth.compare_depths({"a": lensdepth.find_crossing(patch, n_resamples=20)}),
        lensdepth.compare_mistakes(trained, task),
        lensdepth.compare_runs(trained, trained, task),
        lensdepth.subspace_sweep(trained, task, dims=[1], n_folds=2),
        lensdepth.confidence_response(trained, task),
        (landmarks := lensdepth.find_landmarks(trained, task, n_halves=20)),
        lensdepth.compare_landmarks([landmarks]),
        lensdepth.training_dynamics({1: trained, 2: trained}, task),
        lensdepth.check_readiness(trained, task, twins=0),
        lensdepth.plan_report(trained, task, sections=()),
        lensdepth.fit_tuned_lens(trained, list(task.clean), n_steps=1),
        lensdepth.compare_local_global(trained, task, stream="attn_out"),
        lensdepth.shapley_depths(trained, task, stream="mlp_out"),
        lensdepth.choose_depths(trained, task, stream="mlp_out", n_sites=2, n_folds=2),
        lensdepth.trajectory_response(trained, task),
        lensdepth.transfer_matrix(trained, task),
        lensdepth.patch_windows(trained, task, stream="attn_out"),
        lensdepth.attribute_logits(trained, task),
        lensdepth.attention_patterns(trained, PROMPT),
        lensdepth.patch_components(trained, task, "MLP1", n_random=2),
        lensdepth.circuit_graph(trained, task, top=3, edges=3),
        lensdepth.intervene(trained, PROMPT, "Two months from May is", depth=1),
        lensdepth.pair_table(trained, task),
        lensdepth.generation_profile(trained, PROMPT, n_tokens=3),
        lensdepth.continuation_dose(
            trained, PROMPT, edit="scale", depths=1, strengths=[0.5, 2], n_tokens=3
        ),
        (vector := lensdepth.difference_vector(
            trained, PROMPT, "Two months from May is", depths=[1, 3]
        )),
        lensdepth.vector_response(trained, task, vector, n_random=1),
        _hypothesis(trained, task),
        trained.residual_stream(list(task.clean)),
        lensdepth.compare_reports(
            measured := measure(trained, task, sections=(), twins=0, seed=0), measured
        ),
    ]  # fmt: skip
    return {type(one).__name__: one for one in some}


def _hypothesis(model: DepthModel, task: Task) -> Any:
    one = Hypothesis(
        name="h", first=Condition(intervention="patch"), metric="success", depths=3, by=0.1
    )
    return evaluate_hypotheses(model, task, [one])


def public_results() -> list[str]:
    """Classes among the public names that have a table."""
    named = {name: getattr(lensdepth, name) for name in lensdepth.__all__}
    found = [n for n, one in named.items() if inspect.isclass(one) and hasattr(one, "to_frame")]
    return sorted({*found, *RESULTS} - NO_FILE)


@pytest.mark.parametrize("name", public_results())
def test_a_result_has_table_figure_and_file(
    made: dict[str, Any], name: str, tmp_path: Path
) -> None:
    result = made[name]
    frame = result.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame)
    figure = result.plot()
    assert isinstance(figure, go.Figure)
    assert len(figure.to_plotly_json()["data"])
    path = tmp_path / "result.safetensors"
    result.save(path)
    for load in (type(result).load, lensdepth.load):
        again = load(path)
        assert type(again) is type(result)
        pd.testing.assert_frame_equal(again.to_frame(), frame)


@pytest.mark.parametrize("name", sorted({*public_results()} - OVER_NOTHING))
def test_frames_over_depth_say_how_deep(made: dict[str, Any], name: str) -> None:
    frame, n_layers = made[name].to_frame(), 0
    names = [c.removeprefix("relative_") for c in frame.columns if c.startswith("relative_")]
    assert names
    provenance = getattr(made[name], "provenance", None)
    n_layers = provenance.model.n_layers if provenance else made[name].n_layers
    for column in names:
        depth, relative = frame[column].astype(float), frame[f"relative_{column}"].astype(float)
        pd.testing.assert_series_equal(relative, depth / n_layers, check_names=False, rtol=1e-6)
        assert depth.dropna().between(0, n_layers).all()
    if "layer" in frame.columns:
        pd.testing.assert_series_equal(
            frame["depth"].astype(float), frame["layer"].astype(float) + 1, check_names=False
        )


def test_a_stream_of_blocks_stands_at_the_depth_after_the_block(trained: DepthModel) -> None:
    task = load_task("months", trained, n=3)
    for stream in ("attn_out", "mlp_out", "z", "resid_mid", "resid_post"):
        found = lensdepth.patch_sweep(trained, task, stream=stream, positions=("prediction",))
        frame = found.to_frame()
        assert sorted(frame["layer"].unique()) == [0, 1, 2]
        assert (frame["depth"] == frame["layer"] + 1).all()
        assert sorted(found.mean_frame()["depth"].unique()) == [1, 2, 3]
    plain = lensdepth.patch_sweep(trained, task, positions=("prediction",)).to_frame()
    assert sorted(plain["depth"].unique()) == [0, 1, 2, 3]
    assert "layer" not in plain


def complaint(call: Callable[[], object]) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        call()
    (line,) = str(caught.value).splitlines()
    return line


def test_what_is_no_result_is_said_to_be_none(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    assert "load: there is no file" in complaint(lambda: lensdepth.load(path))
    path.write_text("text")
    assert "is not a safetensors file" in complaint(lambda: lensdepth.load(path))
    save_file({"a": torch.zeros(1, dtype=torch.float32)}, path)
    assert "holds no result of lensdepth" in complaint(lambda: lensdepth.load(path))
    save_file({"a": torch.zeros(1, dtype=torch.float32)}, path, {"kind": "os:system"})
    assert "holds 'os:system', which is no result" in complaint(lambda: lensdepth.load(path))
    results.lens().save(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "is damaged" in complaint(lambda: lensdepth.load(path))
