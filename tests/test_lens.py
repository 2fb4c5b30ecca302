"""The streamed lens equals a naive one, and ends at the model's own distribution."""

import math

import pytest
import torch

from lensdepth import DepthModel, Task, load_task, logit_lens, metrics
from lensdepth.lens import LensProfile, read

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


def test_at_depth_l_it_is_the_models_own_distribution(trained: DepthModel) -> None:
    profile = logit_lens(trained, PROMPTS, top_k=trained.d_vocab)
    own = trained.log_probs(PROMPTS)[:, 0].sort(descending=True).values
    torch.testing.assert_close(profile.top_log_probs[-1, :, 0], own, atol=1e-5, rtol=0)
    assert profile.kl[-1].abs().max() < 1e-6
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
