"""Identities that patching must obey exactly, whatever the weights."""

import re
from typing import Any

import architectures
import pytest
import torch
from conftest import Load
from torch import Tensor

from lensdepth import DepthModel, Task, find_crossing, load_task, patch_sweep, patch_windows, polar
from lensdepth.hooks import SiteEdit
from lensdepth.metrics import logit_diff
from lensdepth.passes import Passes
from lensdepth.patching import PatchProfile, WindowProfile, text_span
from lensdepth.patching.sweep import check_options
from lensdepth.plotting import layout_of
from lensdepth.site import Stream, site_hook
from lensdepth.sweep.choices import check_stream
from lensdepth.sweep.controls import elsewhere, shuffled_sources
from lensdepth.sweep.roles import assign_roles
from lensdepth.sweep.spans import resolve_spans, same_states
from lensdepth.telling.numbers import number


@pytest.fixture(scope="module")
def profile(trained: DepthModel, capitals: Task) -> PatchProfile:
    return patch_sweep(trained, capitals, controls=("shuffled_source", "random_site"))


@pytest.fixture(scope="module")
def aligned(trained: DepthModel) -> Task:
    """Pairs of equal length, of several lengths."""
    return load_task("months", trained, n=6, template="all", seed=1)


def every(task: Task) -> list[int]:
    """All indices; "all" would line prompts of several wordings up by role."""
    return [*range(int(task.clean_tokens.lengths.max()))]


def test_the_last_state_at_depth_l_gives_the_source_run(profile: PatchProfile) -> None:
    last = profile.of("logit_diff")[:, -1, profile.index("prediction")]
    torch.testing.assert_close(last, profile.source_values[0], atol=1e-4, rtol=1e-5)
    assert (profile.efficacy("prediction")[:, -1] == 1).all()


def test_the_input_state_at_depth_l_changes_nothing(profile: PatchProfile) -> None:
    at_input = profile.index("input")
    assert profile.effects[:, -1, at_input].abs().max() < 1e-5
    assert profile.of("kl")[:, -1, at_input].abs().max() < 1e-6


def test_the_only_differing_token_at_depth_0_gives_the_source_run(profile: PatchProfile) -> None:
    found = profile.of("logit_diff")[:, 0]
    torch.testing.assert_close(
        found[:, profile.index("input")], profile.source_values[0], atol=1e-4, rtol=1e-5
    )
    # The last tokens are equal, so putting one in the other's place needs no run.
    assert torch.equal(found[:, profile.index("prediction")], profile.base_values[0])


def test_noising_mirrors_denoising_when_the_prompts_change_places(
    trained: DepthModel, capitals: Task, profile: PatchProfile
) -> None:
    noise = patch_sweep(trained, capitals, mode="noise")
    torch.testing.assert_close(noise.base_values[0], profile.source_values[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(noise.source_values[0], profile.base_values[0], atol=1e-4, rtol=0)
    assert (noise.efficacy("prediction")[:, -1] == 1).all()


def test_a_pair_gives_the_same_numbers_alone_and_among_others(
    trained: DepthModel, capitals: Task, profile: PatchProfile
) -> None:
    alone = patch_sweep(trained, capitals.select([3]))
    torch.testing.assert_close(
        alone.of("logit_diff")[0], profile.of("logit_diff")[3], atol=1e-4, rtol=1e-4
    )
    assert alone.controls == ()
    assert alone.control_success is None


def test_ragged_pairs_are_patched_at_their_own_positions(trained: DepthModel) -> None:
    ragged = load_task("months", trained, n=10, template="all")
    assert ragged.clean_tokens.lengths.unique().numel() > 1
    profile = patch_sweep(trained, ragged)
    for i in range(3):
        alone = patch_sweep(trained, ragged.select([i]))
        torch.testing.assert_close(
            alone.of("logit_diff")[0], profile.of("logit_diff")[i], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("stream", ["resid_pre", "resid_mid", "attn_out", "mlp_out", "z"])
def test_every_stream_agrees_with_plain_hooks(
    trained: DepthModel, aligned: Task, stream: Stream
) -> None:
    """Every site of the map, one forward pass each, with TransformerLens's own hooks."""
    found = patch_sweep(
        trained,
        aligned,
        stream=stream,
        positions=every(aligned),
        controls=(),
        also=(),
        metric="log_prob",
    )
    assert aligned.corrupted_tokens is not None
    assert aligned.target_ids is not None
    base, clean = aligned.corrupted_tokens, aligned.clean_tokens
    for layer in range(trained.n_layers):
        hook = site_hook(stream, layer)
        for position in (1, 4, int(base.lengths.max()) - 1):
            pairs = (base.lengths > position).nonzero()[:, 0]
            at = torch.full((len(pairs),), position)
            given = trained.activations(clean[pairs], [hook], at)[0, :, 0]
            edit = SiteEdit(hook=hook, positions=at, edit=polar.full_swap, source=given)
            logits = next(trained.run_edits(base[pairs], [[edit]]))[:, 0]
            expected = logits.log_softmax(-1)[torch.arange(len(pairs)), aligned.target_ids[pairs]]
            values = found.of("log_prob")[:, layer, position]
            torch.testing.assert_close(values[pairs], expected, atol=1e-4, rtol=1e-4)
            assert values.isnan().sum() == len(base) - len(pairs)


def test_heads_one_by_one_and_all_together(trained: DepthModel, aligned: Task) -> None:
    heads = patch_sweep(trained, aligned, stream="z", heads="all", positions=["prediction"])
    assert heads.effects.shape == (len(aligned), 3, 1, trained.info.n_heads)
    one = patch_sweep(trained, aligned, stream="z", heads=[1], positions=["prediction"])
    torch.testing.assert_close(one.effects[..., 0], heads.effects[..., 1], atol=1e-4, rtol=0)
    assert aligned.corrupted_tokens is not None
    assert aligned.target_ids is not None
    assert aligned.foil_ids is not None
    base, hook = aligned.corrupted_tokens, site_hook("z", 1)
    given = trained.activations(aligned.clean_tokens, [hook], "last")[0, :, 0]
    width = given.shape[1] // trained.info.n_heads

    def of_head(head: int) -> SiteEdit:
        part = given[:, head * width : (head + 1) * width]
        return SiteEdit(
            hook=hook, positions=base.last, edit=polar.full_swap, source=part, head=head
        )

    alone = next(trained.run_edits(base, [[of_head(2)]]))[:, 0]
    expected = logit_diff(alone, aligned.target_ids, aligned.foil_ids)
    torch.testing.assert_close(heads.of("logit_diff")[:, 1, 0, 2], expected, atol=1e-4, rtol=1e-4)
    together = next(
        trained.run_edits(base, [[of_head(head) for head in range(trained.info.n_heads)]])
    )[:, 0]
    whole = patch_sweep(trained, aligned, stream="z", positions=["prediction"])
    expected = logit_diff(together, aligned.target_ids, aligned.foil_ids)
    torch.testing.assert_close(whole.of("logit_diff")[:, 1, 0], expected, atol=1e-4, rtol=1e-4)


def test_edits_of_a_part_run_through_the_same_sites(trained: DepthModel, aligned: Task) -> None:
    options = {"positions": ["prediction"], "controls": ()}
    itself = patch_sweep(trained, aligned, edit="self", **options)
    assert itself.effects.abs().max() < 1e-4
    mine = patch_sweep(trained, aligned, edit=lambda base, source: base, **options)
    assert mine.effects.abs().max() < 1e-4
    norm = patch_sweep(trained, aligned, edit="norm", **options)
    assert norm.effects[:, -1].abs().max() < 1e-4  # the final norm divides it out


def test_spans_are_patched_together(trained: DepthModel, aligned: Task) -> None:
    roles = assign_roles(aligned, "denoise", positions=("input", "prediction"), caller="test")
    assert aligned.corrupted_tokens is not None
    everything = torch.arange(int(aligned.clean_tokens.lengths.max())).expand(len(aligned), -1)
    whole = torch.where(aligned.clean_tokens.mask, everything, -1)
    single = (roles.source_positions["input"][:, None], roles.base_positions["input"][:, None])
    profile = patch_sweep(
        trained, aligned, positions={"whole": (whole, whole), "one": single}, controls=()
    )
    # All tokens of the source run put in, at any depth, give the source run.
    expected = profile.source_values[0][:, None].expand(-1, 4)
    torch.testing.assert_close(profile.of("logit_diff")[..., 0], expected, atol=1e-4, rtol=1e-4)
    named = patch_sweep(trained, aligned, positions=["input"], controls=())
    torch.testing.assert_close(profile.effects[..., 1], named.effects[..., 0], atol=1e-5, rtol=0)


def test_spans_of_text(trained: DepthModel, aligned: Task) -> None:
    """The start month, found by its words, is the input position."""
    assert aligned.corrupted is not None
    words = [
        prompt.split()[int(at) - 1]  # the tokens are words behind a BOS
        for prompt, at in zip(aligned.clean, aligned.input_positions, strict=True)  # type: ignore[arg-type]
    ]
    others = [
        prompt.split()[int(at) - 1]
        for prompt, at in zip(aligned.corrupted, aligned.corrupted_input_positions, strict=True)  # type: ignore[arg-type]
    ]
    clean, corrupted = text_span(trained, aligned, words, others)
    assert aligned.input_positions is not None
    assert aligned.corrupted_input_positions is not None
    assert torch.equal(clean[:, 0], aligned.input_positions)
    assert torch.equal(corrupted[:, 0], aligned.corrupted_input_positions)
    ending, _ = text_span(trained, aligned.select([0]), " ".join(aligned.clean[0].split()[-2:]))
    length = int(aligned.clean_tokens.lengths[0])
    assert ending.tolist() == [[length - 2, length - 1]]
    with pytest.raises(ValueError, match="one piece for all or one a pair is needed, got 1"):
        text_span(trained, aligned, ["January"])


def test_weights_that_are_no_numbers_are_named(load_tiny: Load, backend: str) -> None:
    model = load_tiny("qwen2", backend)
    task = load_task("months", model, n=2, keep="all")
    name, weight = list(model.model.named_parameters())[-1]
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.view(-1)[0] = torch.nan
        with pytest.raises(ValueError, match=rf"weight {re.escape(name)} holds NaN"):
            patch_sweep(model, task)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_equal_beginnings_need_no_run(trained: DepthModel, aligned: Task) -> None:
    roles = assign_roles(aligned, "denoise", positions=(), caller="test")
    spans = resolve_spans(roles, "all", caller="test")
    profile = patch_sweep(trained, aligned, positions=every(aligned), controls=())
    for i, span in enumerate(spans):
        before, alike = same_states(roles, span)
        tokens = roles.base.tokens[:, : i + 1] == roles.source.tokens[:, : i + 1]
        assert torch.equal(before[span.present], tokens.all(1)[span.present])
        assert (profile.effects[before & span.present, :, i] == 0).all()
        assert (profile.effects[alike & span.present, 0, i] == 0).all()
    by_hooks = patch_sweep(trained, aligned, positions=every(aligned), controls=(), engine="hooks")
    torch.testing.assert_close(
        by_hooks.effects, profile.effects, atol=1e-4, rtol=1e-4, equal_nan=True
    )


def test_metrics_by_name_and_by_function(trained: DepthModel, capitals: Task) -> None:
    def best(logits: Tensor, pairs: Tensor) -> Tensor:
        return logits.amax(-1)

    profile = patch_sweep(
        trained, capitals, metric=best, also=("log_prob", "kl", "js", "flip", "success")
    )
    assert profile.metrics == ("best", "log_prob", "kl", "js", "flip", "success")
    at_end = {m: profile.of(m)[:, -1, profile.index("prediction")] for m in profile.metrics}
    for name, values in at_end.items():  # the last state is all that the source run's answer needs
        expected = profile.source_values[profile.metrics.index(name)]
        torch.testing.assert_close(values, expected, atol=1e-4, rtol=1e-4)
    assert (at_end["flip"] == 1).all()
    assert (at_end["js"] > 0.3).all()
    assert profile.base_values[2:5].abs().max() < 1e-6  # against itself


def test_controls_do_what_their_names_say(profile: PatchProfile, capitals: Task) -> None:
    shuffled = profile.efficacy("prediction", control="shuffled_source")
    assert (shuffled[:, -1] == 0).all()  # another pair's answer comes out
    at = profile.index("prediction")
    elsewhere_effect = profile.of("kl", control="random_site")[:, -1, at]
    assert elsewhere_effect.abs().max() < 1e-6  # the last state elsewhere is read by nobody
    with pytest.raises(ValueError, match="control 'placebo' was not run; there are shuffled"):
        profile.of("kl", control="placebo")


def test_another_site_is_another_one(capitals: Task) -> None:
    roles = assign_roles(capitals, "denoise", positions=("input",), caller="test")
    (span,) = resolve_spans(roles, ["input"], caller="test")
    moved = elsewhere(roles, span, seed=0)
    assert (moved.base != span.base).all()
    assert ((moved.base >= 0) & (moved.base < roles.base.lengths[:, None])).all()


def test_self_patch_is_zero(profile: PatchProfile) -> None:
    assert profile.self_patch_error <= 1e-5 * max(1.0, profile.base_values[0].abs().max().item())


def test_the_shuffled_source_brings_another_answer(capitals: Task) -> None:
    answers = capitals.target_ids
    assert answers is not None
    partner = shuffled_sources(answers, seed=0)
    assert sorted(partner.tolist()) == list(range(len(capitals)))
    assert (answers[partner] != answers).all()
    one_answer = torch.zeros(5, dtype=torch.long)
    assert (shuffled_sources(one_answer, seed=0) != torch.arange(5)).all()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_attribution_is_exact_to_first_order(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    """The smaller the step, the better the estimate: gradient times difference is the slope."""
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=4, keep="all")

    def step(base: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None
        return base + 0.003 * (source - base)

    streams: tuple[Stream, ...] = ("resid_pre", "attn_out", "z")
    for stream in streams:
        options = {"stream": stream, "positions": ["input", "prediction"], "controls": ()}
        exact = patch_sweep(model, task, edit=step, **options)
        estimate = patch_sweep(model, task, edit=step, method="attribution", **options)
        scale = exact.effects.abs().max()
        assert scale > 1e-4
        assert (estimate.effects - exact.effects).abs().max() < 0.1 * scale


def test_attribution_verifies_its_largest_sites(trained: DepthModel, capitals: Task) -> None:
    options = {"stream": "mlp_out", "positions": ["input", "prediction"], "controls": ()}
    estimate = patch_sweep(trained, capitals, method="attribution", verify=4, **options)
    exact = patch_sweep(trained, capitals, **options)
    assert estimate.exact_values is not None
    assert estimate.rank_correlation is not None
    computed = ~estimate.exact_values[..., 0].isnan()
    assert computed.any(0).sum() == 4
    torch.testing.assert_close(
        estimate.exact_values[..., 0][computed], exact.of("logit_diff")[computed], atol=1e-4, rtol=0
    )
    largest = estimate.effects.mean(0).abs()
    assert largest[computed.any(0)].min() >= largest[~computed.any(0)].max()


def test_windows(trained: DepthModel, capitals: Task, tmp_path) -> None:
    windows = patch_windows(trained, capitals, stream="mlp_out")
    local = patch_sweep(trained, capitals, stream="mlp_out", positions=["prediction"])
    torch.testing.assert_close(windows.local, local.effects[..., 0], atol=1e-4, rtol=0)
    assert torch.equal(windows.prefix[:, -1], windows.whole)
    assert torch.equal(windows.suffix[:, 0], windows.whole)
    assert torch.equal(windows.sliding(1), windows.local)
    assert windows.sliding(3).shape == (len(capitals), 1)
    assert windows.effects.isnan().sum() == 3 * len(capitals)
    narrow = patch_windows(trained, capitals, stream="mlp_out", max_width=2)
    torch.testing.assert_close(narrow.sliding(2), windows.sliding(2), atol=1e-5, rtol=0)
    assert narrow.whole.isnan().all()
    swaps = patch_windows(trained, capitals)  # later whole swaps leave nothing of earlier ones
    torch.testing.assert_close(swaps.prefix, swaps.local, atol=1e-4, rtol=0)
    windows.save(tmp_path / "w.safetensors")
    frame = WindowProfile.load(tmp_path / "w.safetensors").to_frame()
    assert frame.equals(windows.to_frame())
    assert len(frame) == 6 * len(capitals)
    assert windows.plot().data


def test_frame_save_load_and_plot(profile: PatchProfile, tmp_path) -> None:
    frame = profile.to_frame()
    assert len(frame) == profile.of("logit_diff").numel()
    row = frame[(frame.position == "prediction") & (frame.depth == 2) & (frame.pair == 1)]
    at = profile.index("prediction")
    assert row["logit_diff"].item() == profile.of("logit_diff")[1, 2, at].item()
    assert row["effect"].item() == profile.effects[1, 2, at].item()
    profile.save(tmp_path / "p.safetensors")
    assert PatchProfile.load(tmp_path / "p.safetensors").to_frame().equals(frame)
    assert profile.plot().data
    means = profile.mean_frame()
    assert (means.low <= means.effect + 1e-6).all()
    assert (means.effect <= means.high + 1e-6).all()


def test_the_map_names_tokens_and_parts_colours_at_zero(trained: DepthModel, aligned: Task) -> None:
    one = patch_sweep(trained, aligned.select([0]), positions="all")
    figure = one.plot()
    heatmap: Any = figure.data[0]
    assert heatmap.zmin == -heatmap.zmax
    labels = list(layout_of(figure).xaxis.ticktext)
    assert labels[0] == "&lt;bos&gt;"
    assert any(" / " in label for label in labels)
    assert "towards target" in heatmap.colorbar.ticktext[-1]
    assert number(float(one.effects[0, 2, 3])) in heatmap.text[2][3]


def test_the_crossing_of_a_profile_lies_between_its_depths(
    trained: DepthModel, profile: PatchProfile
) -> None:
    months = load_task("months", trained, n=12, keep="correct")
    crossing = find_crossing(patch_sweep(trained, months, controls=()), n_resamples=100)
    assert crossing.verdict == "crossing"
    assert 0 < crossing.depth < profile.n_layers
    # Capitals change hands in the last block, which they do whatever the model is.
    last = find_crossing(profile, n_resamples=100)
    assert last.verdict == "none"
    assert "by construction" in last.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [0, 99]}, "depths must lie between 0 and 3"),
        ({"depths": []}, "depths must lie"),
        ({"depths": [3], "stream": "mlp_out"}, "depths must lie between 0 and 2"),
        ({"positions": ("middle",)}, "named input or prediction, got 'middle'"),
        ({"positions": ()}, "no position given"),
        ({"positions": "every"}, "positions must be 'all', a sequence of names"),
        ({"positions": [40]}, "position 40 lies outside every prompt"),
        ({"heads": [0]}, "heads are patched at stream='z', got 'resid_pre'"),
        ({"heads": [9], "stream": "z"}, r"heads must lie in 0\.\.\."),
        ({"metric": "loss"}, "metric must be one of logit_diff"),
        ({"edit": "wipe"}, "edit must be one of full"),
        ({"method": "attribution", "metric": "kl"}, "a metric with a slope at the base run"),
        ({"verify": 3}, "beside method='attribution'"),
    ],
)
def test_bad_options_are_refused_before_any_forward_pass(
    trained: DepthModel,
    capitals: Task,
    options: dict,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a forward pass ran")

    monkeypatch.setattr(Passes, "forward", fail)
    with pytest.raises(ValueError, match=message):
        patch_sweep(trained, capitals, **options)


def test_words_that_mean_nothing_are_refused(trained: DepthModel) -> None:
    with pytest.raises(ValueError, match=r"stream must be one of resid_pre, .*, got 'residual'"):
        check_stream(trained, "residual", caller="patch_sweep")
    for options, message in (
        ((("placebo",), "exact", 0, "kl"), "control must be one of shuffled_source"),
        (((), "guess", 0, "kl"), "method must be one of exact"),
    ):
        with pytest.raises(ValueError, match=message):
            check_options(*options)


def test_prompts_that_do_not_line_up_are_named(trained: DepthModel) -> None:
    task = load_task("months", trained, n=4, template="all")
    assert task.corrupted_tokens is not None
    order = task.clean_tokens.lengths.argsort()
    if task.clean_tokens.lengths[order[0]] == task.clean_tokens.lengths[order[-1]]:
        pytest.skip("all pairs have one length")
    from dataclasses import replace

    crossed = replace(
        task,
        corrupted_tokens=task.corrupted_tokens[order.flip(0)],
        clean_tokens=task.clean_tokens[order],
    )
    with pytest.raises(ValueError, match=r"absolute positions do not line up .* 'input'"):
        patch_sweep(trained, crossed, positions="all")
    patch_sweep(trained, crossed, positions=["prediction", -2], controls=())


def test_a_stream_that_an_architecture_lacks(load_tiny: Load, backend: str) -> None:
    model = load_tiny("gpt_neox", backend)
    task = load_task("months", model, n=2, keep="all")
    with pytest.raises(ValueError, match="GPTNeoXForCausalLM has no resid_mid; it has resid_pre"):
        patch_sweep(model, task, stream="resid_mid")
    assert "gpt_neox" in architectures.PARALLEL


def test_plain_prompts_are_refused(trained: DepthModel, tmp_path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt\nThe capital of France is\nThe capital of Spain is\n")
    with pytest.raises(ValueError, match="interventions need pairs"):
        patch_sweep(trained, load_task(str(path), trained))


def test_a_model_that_the_engine_gets_wrong_is_patched_by_hooks(
    load_tiny: Load, backend: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """In every block of pairs, the checks before the sweep included."""
    from lensdepth.replay import chunk
    from lensdepth.sweep import blocks

    model = DepthModel(
        load_tiny("llama", backend).model, tokenizer=load_tiny("llama", backend).tokenizer
    )
    task = load_task("months", model, n=6, keep="all")
    expected = patch_sweep(model, task, engine="hooks")

    class Louder(chunk.Attending):
        def attend(self, q: Any, k: Any, v: Any, past_k: Any, past_v: Any, rule: Any) -> Any:
            return 1.1 * super().attend(q, k, v, past_k, past_v, rule)

    monkeypatch.setattr(chunk, "Attending", Louder)
    monkeypatch.setattr(blocks, "STATE_BYTES", 1)  # a block a pair
    model.known.replay_checked.clear()
    found = patch_sweep(model, task)
    torch.testing.assert_close(found.values, expected.values, atol=1e-4, rtol=1e-4)
    assert found.self_patch_error < 1e-6
    assert len([record for record in caplog.records if "hook by hook" in record.message]) == 1
    with pytest.raises(RuntimeError, match="cannot be replayed: the replayed logits differ"):
        patch_sweep(model, task, engine="replay")


@pytest.mark.parametrize("name", ["months", "ioi"])  # counted columns, and named ones
def test_a_map_has_the_curves_at_its_ends(trained: DepthModel, name: str) -> None:
    task = load_task(name, trained, n=12)
    options: dict[str, Any] = {"also": ("success",), "controls": ()}
    whole = patch_sweep(trained, task, positions="all", **options)
    curves = patch_sweep(trained, task, **options)
    found = whole.at_ends(task)
    assert found is not None
    assert found.positions == curves.positions == ("input", "prediction")
    assert found.is_curves
    torch.testing.assert_close(found.values, curves.values)
    ours, theirs = find_crossing(found), find_crossing(curves)
    assert (ours.verdict, ours.reason) == (theirs.verdict, theirs.reason)
    bare = patch_sweep(trained, task, positions="all", also=(), controls=())
    assert bare.at_ends(task) is None
    assert patch_sweep(trained, task, positions=[0], **options).at_ends(task) is None
