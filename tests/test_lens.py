"""The streamed lens equals a naive one, and ends at the model's own distribution."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Load

from lensdepth import DepthModel, Task, load_task, logit_lens, metrics
from lensdepth.lens import LensProfile, figures, read
from lensdepth.provenance import Backend

PROMPTS = ["The capital of France is", "If it is May now, in two months it will be"]


def test_it_equals_the_definition_written_out_naively(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS, positions="all", top_k=3)
    for i, prompt in enumerate(PROMPTS):
        resid = trained.residual_stream(prompt, "all").resid[:, 0]
        log_p = trained.readout(resid).log_softmax(-1)
        final, n_pos = log_p[-1], resid.shape[1]
        kl = (final.exp() * (final - log_p)).sum(-1)
        torch.testing.assert_close(profile.kl[:, i, :n_pos], kl, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            profile.entropy[:, i, :n_pos], -(log_p.exp() * log_p).sum(-1), atol=1e-5, rtol=1e-4
        )
        assert torch.equal(profile.top_tokens[:, i, :n_pos], log_p.topk(3).indices)
        agreement = (log_p.argmax(-1) == final.argmax(-1)).float()
        assert torch.equal(profile.top1_agreement[:, i, :n_pos], agreement)


def test_final_rank_counts_the_tokens_above_the_final_prediction(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS[0], positions="all")
    assert profile.final_rank is not None
    logits = trained.readout(trained.residual_stream(PROMPTS[0], "all").resid[:, 0])
    order = logits.argsort(dim=-1, descending=True)
    expected = (order == logits[-1].argmax(-1, keepdim=True)).float().argmax(-1).float()
    assert torch.equal(profile.final_rank[:, 0], expected)
    assert (profile.final_rank == 0).equal(profile.top1_agreement == 1)


def test_followed_tokens_have_the_probability_and_rank_that_all_of_them_have(
    trained: DepthModel,
) -> None:
    other = trained.d_vocab - 1
    profile = logit_lens(trained, PROMPTS, positions="all", follow=["Paris", other])
    assert profile.followed is not None
    paris, last = profile.followed.tolist()
    assert (trained.token_text(paris).strip(), last) == ("Paris", other)
    log_prob, rank = profile.followed_log_prob, profile.followed_rank
    assert log_prob is not None
    assert rank is not None
    for i, prompt in enumerate(PROMPTS):
        log_p = trained.readout(trained.residual_stream(prompt, "all").resid[:, 0]).log_softmax(-1)
        n_pos = log_p.shape[1]
        for j, token in enumerate((paris, other)):
            one = log_p[..., token]
            torch.testing.assert_close(log_prob[:, i, :n_pos, j], one, atol=1e-5, rtol=1e-5)
            above = (log_p > one[..., None]).sum(-1).float()
            assert torch.equal(rank[:, i, :n_pos, j], above)
    frame = profile.followed_frame().query("prompt == 0 and depth == 2 and position == 1")
    assert frame["rank"].tolist() == rank[2, 0, 1].tolist()
    figure: Any = profile.plot_followed(1, position=3)
    first, second = figure.data[:2]
    assert first.y.tolist() == log_prob[:, 1, 3, 0].exp().tolist()
    assert second.name == profile.text(other)
    alone = logit_lens(trained, PROMPTS[0], follow=["Paris"])
    own: Any = alone.plot_followed()
    assert own.data[0].y.tolist() == pytest.approx(
        log_prob[:, 0, profile.position[0].max(), 0].exp().tolist(), abs=1e-6
    )
    bars: Any = alone.plot_top()
    assert "behind is" in bars.layout.title.text
    # What else is read does not depend on it.
    plain = logit_lens(trained, PROMPTS, positions="all")
    torch.testing.assert_close(plain.kl, profile.kl, equal_nan=True)
    assert plain.followed is None
    with pytest.raises(ValueError, match="no token was followed"):
        plain.plot_followed()


@pytest.mark.parametrize("token", ["Paris Paris", "wunderland", "", -1, 10**6])
def test_what_is_not_one_token_is_not_followed(trained: DepthModel, token: str | int) -> None:
    with pytest.raises(ValueError, match="logit_lens: "):
        logit_lens(trained, PROMPTS, follow=[token])


def test_at_depth_l_it_is_the_models_own_distribution(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS, top_k=trained.d_vocab)
    own = trained.log_probs(PROMPTS)[:, 0].sort(descending=True).values
    torch.testing.assert_close(profile.top_log_probs[-1, :, 0], own, atol=1e-5, rtol=0)
    assert (profile.kl[-1] == 0).all()
    assert (profile.top1_agreement[-1] == 1).all()


def test_beyond_a_prompt_there_is_nan_and_no_row(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS, positions="all")
    lengths = [len(trained.str_tokens(prompt)) for prompt in PROMPTS]
    assert lengths[0] < lengths[1]
    assert profile.kl[:, 0, lengths[0] :].isnan().all()
    assert not profile.kl[:, 1].isnan().any()
    assert len(profile.to_frame()) == (trained.n_layers + 1) * sum(lengths)
    assert profile.mean_by_depth(profile.kl).shape == (2, trained.n_layers + 1)


def test_target_and_foil_are_those_of_the_task(trained: DepthModel, capitals: Task) -> None:
    profile = logit_lens(trained, capitals)
    log_p = trained.log_probs(capitals.clean_tokens)[:, 0]
    assert capitals.target_ids is not None
    assert capitals.foil_ids is not None
    assert profile.target_log_prob is not None
    assert profile.foil_rank is not None
    expected = metrics.token_log_prob(log_p, capitals.target_ids)
    torch.testing.assert_close(profile.target_log_prob[-1, :, 0], expected, atol=1e-5, rtol=0)
    rank = metrics.token_rank(log_p, capitals.foil_ids).float()
    assert torch.equal(profile.foil_rank[-1, :, 0], rank)


def test_small_streaming_chunks_change_nothing(
    trained: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = logit_lens(trained, PROMPTS, positions="all")
    monkeypatch.setattr(read, "LOGITS_AT_ONCE", trained.d_vocab * 2)
    monkeypatch.setattr(read, "_row_chunks", lambda *_: [slice(0, 1), slice(1, 2)])
    streamed = logit_lens(trained, PROMPTS, positions="all")
    torch.testing.assert_close(streamed.kl, whole.kl, equal_nan=True, atol=1e-6, rtol=1e-5)
    assert torch.equal(streamed.top_tokens, whole.top_tokens)


def test_a_token_that_is_excluded_counts_nothing() -> None:
    """As where a vocabulary is padded: a logit of minus infinity at every depth."""
    logits = torch.randn(3, 4, 6, dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    short = read.read_logits(logits.clone(), {}, 2)
    padded = torch.cat([logits, torch.full((3, 4, 2), -torch.inf)], dim=-1)
    for name, values in read.read_logits(padded, {}, 2).items():
        torch.testing.assert_close(values, short[name], atol=1e-6, rtol=1e-5)


def test_a_lens_that_excludes_what_the_model_allows_diverges() -> None:
    logits = torch.zeros(2, 1, 3)
    logits[0, 0, 0] = -torch.inf
    found = read.read_logits(logits, {}, 1)
    assert found["kl"].tolist() == [[math.inf], [0.0]]
    assert found["entropy"][0, 0].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_every_architecture_ends_at_its_own_distribution(
    load_tiny: Load, backend: Backend, architecture: str
) -> None:
    """Norms with and without means, tied unembeddings, a cap on the logits."""
    model = load_tiny(architecture, backend)
    profile = logit_lens(model, PROMPTS, top_k=model.d_vocab)
    own = model.log_probs(PROMPTS)[:, 0].sort(descending=True).values
    torch.testing.assert_close(profile.top_log_probs[-1, :, 0], own, atol=1e-5, rtol=0)
    alone = [logit_lens(model, prompt).kl[:, 0] for prompt in PROMPTS]
    torch.testing.assert_close(profile.kl, torch.stack(alone, dim=1), atol=1e-4, rtol=1e-4)


def test_saves_loads_and_plots(trained: DepthModel, tmp_path) -> None:
    profile = logit_lens(trained, load_task("capitals", trained, n=4))
    profile.save(tmp_path / "lens.safetensors")
    again = LensProfile.load(tmp_path / "lens.safetensors")
    assert again.provenance == profile.provenance
    assert again.to_frame().equals(profile.to_frame())
    assert profile.plot().data


@pytest.mark.parametrize("top_k", [0, 10**6])
def test_bad_top_k_is_refused(trained: DepthModel, top_k: int) -> None:
    with pytest.raises(ValueError, match=r"top_k must be between 1 and d_vocab \(302\)"):
        logit_lens(trained, PROMPTS, top_k=top_k)


def test_token_ids_are_read_as_the_text_is(trained: DepthModel) -> None:
    ids = [trained.tokenize(prompt).row(0) for prompt in PROMPTS]
    assert torch.equal(logit_lens(trained, ids).kl, logit_lens(trained, PROMPTS).kl)


def test_entropy_lies_between_zero_and_log_vocabulary(trained: DepthModel) -> None:
    entropy = logit_lens(trained, PROMPTS).entropy
    assert ((entropy >= 0) & (entropy <= math.log(trained.d_vocab) + 1e-5)).all()


# ---------------------------------------------------------------- the map of tokens


def cells_of(figure: Any) -> Any:
    (cells,) = figure.data
    return cells


def test_the_map_has_a_column_a_position_and_a_row_a_depth(trained: DepthModel) -> None:
    prompt = "Two months from January is March . Two months from May is"
    profile = logit_lens(trained, [PROMPTS[0], prompt], positions="all", top_k=3)
    figure: Any = profile.plot_tokens(1, value="probability")
    cells = cells_of(figure)
    n_pos = len(trained.str_tokens(prompt))
    assert cells.z.shape == (trained.n_layers + 1, n_pos)
    assert len(figure.layout.xaxis.ticktext) == n_pos  # "months" has two columns
    assert figure.layout.yaxis.ticktext[0].startswith("0 ")
    assert figure.layout.yaxis.ticktext[-1].startswith(f"{trained.n_layers} ")
    top = profile.text(int(profile.top_tokens[2, 1, 3, 0]))
    assert cells.text[2][3] == figures.shown(top, figures.CHARACTERS)
    assert all(profile.text(int(t)) in cells.customdata[2][3] for t in profile.top_tokens[2, 1, 3])
    torch.testing.assert_close(
        torch.tensor(cells.z), profile.top_log_probs[:, 1, :n_pos, 0].exp(), check_dtype=False
    )


@pytest.mark.parametrize("value", ["kl", "entropy", "rank"])
def test_the_colour_is_what_was_asked_for(trained: DepthModel, value: figures.CellValue) -> None:
    profile = logit_lens(trained, PROMPTS[0], positions="all")
    assert profile.final_rank is not None
    named = {"kl": profile.kl, "entropy": profile.entropy, "rank": profile.final_rank}
    z = torch.tensor(cells_of(profile.plot_tokens(value=value)).z)
    expected = named[value][:, 0]
    expected = (1 + expected).log10() if value == "rank" else expected
    torch.testing.assert_close(z, expected, check_dtype=False)


def test_tokens_are_shown_letter_by_letter(trained: DepthModel) -> None:
    assert figures.shown("<script>") == "&lt;script&gt;"
    assert figures.shown(" Paris") == "·Paris"
    assert [figures.shown(t) for t in ("\n", "", "  ", "\x07")] == ["⏎", "∅", "··", "\\x07"]
    assert figures.shown("internationally", 6) == "inter…"
    profile = logit_lens(trained, PROMPTS[0], positions="all")
    hostile = dict.fromkeys(profile.vocabulary, "<script>alert(1)</script>")
    page = str(replace(profile, vocabulary=hostile).plot_tokens().to_json())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_an_infinite_divergence_keeps_its_token(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS[0], positions="all")
    kl = profile.kl.clone()
    kl[0, 0, 1] = torch.inf
    cells = cells_of(replace(profile, kl=kl).plot_tokens())
    assert cells.z[0][1] == cells.z.max()
    assert "KL ∞" in cells.customdata[0][1]


def test_a_map_that_cannot_be_drawn_is_refused(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS)
    with pytest.raises(ValueError, match="prompt must lie between 0 and 1, got 2"):
        profile.plot_tokens(2)
    with pytest.raises(ValueError, match="one of kl, entropy, probability, rank, got 'norm'"):
        figures.token_map(profile, 0, "norm")
    with pytest.raises(ValueError, match="saved without ranks"):
        replace(profile, final_rank=None).plot_tokens(value="rank")
