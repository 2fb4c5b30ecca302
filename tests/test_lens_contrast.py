"""The lens between a task's answers: by hand, against plain readouts, and where others fail."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lensdepth import (
    DepthModel,
    Task,
    find_transition,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
)
from lensdepth.lens.read import read_answers
from lensdepth.report.measure import cut_together
from lensdepth.report.story import key_numbers
from lensdepth.teaching import planted
from lensdepth.teaching.planted.blank import LENGTH, Blank
from lensdepth.teaching.planted.language import INPUTS, OUTPUTS, prompt_file
from lensdepth.transition.find import why_not_sought
from lensdepth.transition.told import NOT_OPEN, lens_verdict, transition_summary


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=24, keep="correct")


def test_distributions_over_some_tokens_by_hand() -> None:
    # Depth 0 and the final depth; tokens 1 and 3 are the answers, the others outshine them.
    logits = torch.tensor([[[9.0, math.log(3.0), 9.0, 0.0]], [[9.0, 0.0, 9.0, math.log(4.0)]]])
    read = read_answers(logits, torch.tensor([1, 3]))
    # Early (3/4, 1/4), in the end (1/5, 4/5).
    kl = 0.2 * math.log(0.2 / 0.75) + 0.8 * math.log(0.8 / 0.25)
    assert read["answer_kl"][:, 0].tolist() == pytest.approx([kl, 0.0], abs=1e-6)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(read["answer_entropy"][0, 0]) == pytest.approx(entropy, abs=1e-6)
    assert read["answer_agreement"][:, 0].tolist() == [0.0, 1.0]


def test_readings_between_answers_are_those_of_plain_readouts(
    trained: DepthModel, months: Task
) -> None:
    found = logit_lens(trained, months)
    assert found.located_by == "contrast"
    differences = []
    for prompts in (months.clean_tokens, months.corrupted_tokens):
        assert prompts is not None
        rows = []
        for i in range(len(prompts)):
            stream = trained.residual_stream(prompts[i : i + 1], positions="last")
            logits = trained.readout(stream.resid[:, 0, 0])
            assert months.target_ids is not None
            assert months.foil_ids is not None
            rows.append(logits[:, months.target_ids[i]] - logits[:, months.foil_ids[i]])
        differences.append(torch.stack(rows))
    own, other = differences
    torch.testing.assert_close(found.reading("logit_diff"), own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        found.reading("contrast"), own.sigmoid() - other.sigmoid(), atol=1e-4, rtol=0
    )
    assert found.reading("preferred").eq((own > 0).float()).float().mean() > 0.99
    # The same last token: until something of the input has come here there is no contrast.
    assert found.reading("contrast")[:, 0].abs().max() < 1e-6
    assert found.reading("contrast")[:, -1].mean() > 0.5


def test_prompts_without_pairs_are_located_by_their_divergence(trained: DepthModel) -> None:
    found = logit_lens(trained, ["Two months from January is", "Three months from May is"])
    assert (found.contrast, found.answers, found.located_by) == (None, None, "kl")
    with pytest.raises(ValueError, match=r"no reading 'contrast' here; there are kl, entropy"):
        found.reading("contrast")
    with pytest.raises(ValueError, match="by='kl' chooses among the readings of a lens profile"):
        find_transition(torch.rand(9, 6), by="kl")


def test_all_tokens_of_pairs_have_answers_and_no_contrast(
    trained: DepthModel, months: Task
) -> None:
    found = logit_lens(trained, months, positions="all")
    assert found.contrast is None
    assert found.answer_kl is not None
    assert {"logit_diff", "answer_kl"} <= {*found.to_frame()}
    assert "contrast" not in found.to_frame()


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def outshone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DepthModel, Task]:
    """Block 3 of 8 moves the input to the end; until the last block the last token outshines it.

    Like a model whose embedding and unembedding are one matrix, it reads its own token back.
    """
    folder = tmp_path_factory.mktemp("outshone")
    blank = Blank(request.param, 8)
    unit = blank.unit
    moved = sum(torch.outer(unit[word], unit[word]) for word in INPUTS)
    blank.attend(3, 2 * LENGTH * moved)  # type: ignore[arg-type]
    blank.attend(7, -4 * LENGTH * torch.outer(unit["is"], unit["is"]))
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, unit[given])
    blank.read("is", 6 * unit["is"])
    model = load_model(blank.save(folder / "model"))
    pairs = [(a, (a + k) % 12) for a in range(12) for k in (1, 5)]
    file = prompt_file(folder / "pairs.csv", pairs, [*range(12)])
    return model, load_task(file, model, keep="correct")


def test_a_switch_that_other_tokens_outshine_is_found(outshone: tuple[DepthModel, Task]) -> None:
    model, task = outshone
    assert len(task) == 24
    found = logit_lens(model, task)
    assert found.echo
    # The first choice is the last token's own until the last block.
    assert found.reading("top1_agreement").mean(0).tolist() == [0.0] * 8 + [1.0]
    assert find_transition(found, by="top1_agreement").verdict == "none"
    switch = find_transition(found)
    assert switch.verdict == "transition"
    assert switch.between == (3, 4)
    assert find_transition(found, by="kl").depths.tolist() == [*map(float, range(1, 9))]
    assert lens_verdict(switch, 8).startswith("The contrast of the answers in the lens rises")


def test_every_surface_reads_what_the_switch_is_looked_for_in(
    outshone: tuple[DepthModel, Task],
) -> None:
    model, task = outshone
    found, patch = logit_lens(model, task), patch_sweep(model, task, also=["success"])
    cut = cut_together(found, patch, seed=0)
    assert cut is not None
    assert cut.names == ("lens, contrast of the answers", "input", "prediction")
    # All three curves are steps there; the divergence falls in the last block alone.
    assert (cut.verdict, cut.location) == ("change", 3.5)
    switch = find_transition(found)
    assert transition_summary(switch)["reading"] == "contrast of the answers, probability"
    (lens_number,) = key_numbers(
        n_layers=8, transition=switch, crossing=None, steering=None, ablation=None, geometry=None
    )
    assert lens_number.detail.endswith(" (contrast of the answers)")
    unpaired = logit_lens(model, task.clean)
    alone = cut_together(unpaired, None, seed=0)
    assert alone is not None
    assert alone.names == ("lens, KL(final ‖ lens)",)
    # Depth 0 reads its own token back, and depth 8 is the model itself.
    assert alone.depths.tolist() == [*map(float, range(1, 8))]
    none = find_transition(unpaired, n_resamples=50)
    assert "(KL(final ‖ lens))" in lens_verdict(none, 8) or none.verdict in NOT_OPEN


def test_a_switch_is_not_sought_in_what_cannot_show_one(
    outshone: tuple[DepthModel, Task],
) -> None:
    model, task = outshone
    found = logit_lens(model, task)
    assert why_not_sought(found) is None
    # What all tokens diverge by has no say where pairs are read by their contrast.
    endless = replace(found, kl=torch.full_like(found.kl, torch.inf))
    assert why_not_sought(endless) is None
    assert find_transition(endless).verdict == "transition"
    plain = replace(endless, corrupted_logit_diff=None)
    assert why_not_sought(plain) == "the lens has infinite values of KL(final ‖ lens)"
    short = logit_lens(model, task.clean)
    names = ("kl", "entropy", "top1_agreement", "top_tokens", "top_log_probs", "final_rank")
    short = replace(short, **{name: getattr(short, name)[:4] for name in names})
    assert why_not_sought(short) == "3 depths to read, and a switch needs 4"


def test_a_model_that_never_tells_the_prompts_apart_has_no_contrast(tmp_path: Path) -> None:
    model = load_model(planted.deaf(tmp_path / "deaf", n_layers=6, noise=0.3))
    file = prompt_file(tmp_path / "pairs.csv", [(a, (a + 1) % 12) for a in range(12)], [*range(12)])
    found = logit_lens(model, load_task(file, model, keep="all"))
    assert found.reading("contrast").abs().max() < 0.2
    assert find_transition(found).verdict in ("none", "cannot tell")


def test_one_loud_row_does_not_bleach_the_map(outshone: tuple[DepthModel, Task]) -> None:
    model, task = outshone
    found = logit_lens(model, task.clean[0], positions="all")
    loud = found.kl.clone()
    loud[0] = 100.0
    figure: Any = replace(found, kl=loud).plot_tokens(0)
    map_ = figure.data[0]
    usual = loud[1:].max()
    assert map_.zmax <= 2 * usual
    assert map_.colorbar.ticktext[-1].startswith("≥ ")
    assert "KL 100" in map_.customdata[0][0]
