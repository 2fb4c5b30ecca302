"""The recipe is deterministic and resumable, and the bundled models know what their cards say."""

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from lensdepth import load_model, load_task
from lensdepth.bundled import bundled_path, checkpoint_path, checkpoint_steps, corpus, train
from lensdepth.bundled.keep import checkpoint_folder, kept_steps
from lensdepth.tasks import calendar
from lensdepth.tasks.keeping import answered_rightly

SHORT = replace(train.DESIGNS["tiny"], n_layers=1, d_model=16, d_mlp=16, steps=6, rows=2)


def test_an_interrupted_run_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "accuracies", lambda *_, **__: {})
    whole = train.train(SHORT, tmp_path / "whole", checkpoint_every=2)
    kept = train.train(SHORT, tmp_path / "kept", checkpoint_every=2, keep=4)
    make_batch = train.make_batch

    def interrupted(design: train.Design, step: int, ids: dict[str, int]) -> train.Batch:
        if step == 4:
            raise KeyboardInterrupt
        return make_batch(design, step, ids)

    monkeypatch.setattr(train, "make_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(SHORT, tmp_path / "parts", checkpoint_every=2, keep=4)
    monkeypatch.setattr(train, "make_batch", make_batch)
    with pytest.raises(ValueError, match="is at step 4 and kept no checkpoint of step 3"):
        train.train(SHORT, tmp_path / "parts", checkpoint_every=2, keep=5)
    resumed = train.train(SHORT, tmp_path / "parts", checkpoint_every=2, keep=4)
    for a, b, c in zip(*(one.parameters() for one in (whole, kept, resumed)), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert load_model(tmp_path / "parts" / "model").n_layers == 1
    left = [
        [_weights(checkpoint_folder(tmp_path / name, step)) for step in (0, 1, 2, 6)]
        for name in ("kept", "parts")
    ]
    assert left[0] == left[1]
    assert len(set(left[0])) == 4
    assert left[0][-1] == _weights(tmp_path / "whole" / "model")


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_steps_are_kept_evenly_over_their_logarithm() -> None:
    assert kept_steps(6, 4) == [0, 1, 2, 6]
    assert kept_steps(8000, 3) == [0, 31, 8000]
    assert kept_steps(8000, 0) == []
    steps = kept_steps(8000)
    assert (len(steps), steps[0], steps[-1]) == (20, 0, 8000)
    ratios = [b / a for a, b in pairwise(steps[1:])]
    assert max(ratios) / min(ratios) < 1.06
    with pytest.raises(ValueError, match="got 1"):
        kept_steps(8000, 1)


def test_the_kept_checkpoints_are_of_the_run_that_made_tiny() -> None:
    steps = checkpoint_steps("tiny")
    assert list(steps) == kept_steps(8000)
    assert _weights(checkpoint_path("tiny", 8000)) == _weights(bundled_path("tiny"))
    files = [path for step in steps for path in checkpoint_path("tiny", step).iterdir()]
    assert sum(path.stat().st_size for path in files) < 8_000_000
    early = load_model("tiny@0")
    assert early.info.name == "tiny@0"
    pairs = load_task("months", early, n=40, seed=7)
    clean, corrupted = answered_rightly(pairs, early)
    assert not (clean & corrupted).any()
    assert checkpoint_steps("calendar") == ()
    with pytest.raises(ValueError, match=r"has no checkpoint '5'; there are 0, 31, .*, 8000\."):
        load_model("tiny@5")
    with pytest.raises(ValueError, match="has no checkpoint '500'; it has none"):
        load_model("calendar@500")


def test_a_checkpoint_of_another_design_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "accuracies", lambda *_, **__: {})
    train.train(SHORT, tmp_path, checkpoint_every=3)
    with pytest.raises(ValueError, match="another design"):
        train.train(replace(SHORT, seed=1), tmp_path)


def test_what_is_held_out_never_occurs_in_training() -> None:
    held_out = {
        " ".join(corpus.words(calendar.fill(t, unit="month", alpha=alpha, beta=beta)))
        for t, alpha, beta in calendar.combinations("month")
        if corpus.calendar_held_out(t.name, "month", alpha, beta)
    }
    assert len(held_out) > 100
    rng = random.Random(0)
    for _ in range(3000):
        text = " ".join(corpus.document(rng, {"month": 1.0})[0])
        for sentence in text.split(" ."):
            assert " ".join(sentence.split()[:-1]) not in held_out


def test_every_word_of_the_language_has_a_token() -> None:
    vocabulary = set(corpus.vocabulary())
    rng = random.Random(1)
    for mixture in (corpus.PLAIN, corpus.FULL):
        for _ in range(500):
            assert set(corpus.document(rng, mixture)[0]) <= vocabulary


@pytest.mark.parametrize("name", ["calendar", "tiny"])
def test_the_models_answer_what_their_cards_say(name: str) -> None:
    model = load_model(name)
    for task in ("months", "weekdays", "nested-months", "ioi", "capitals", "colours"):
        pairs = load_task(task, model, n=40, seed=7, template="all", keep="correct")
        assert pairs.n_wrong <= 2, task
    weights = bundled_path(name) / "model.safetensors"
    assert weights.stat().st_size < (8_000_000 if name == "calendar" else 200_000)
    assert "| months held out | 100.0% |" in (bundled_path(name) / "README.md").read_text()
