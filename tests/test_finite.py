"""NaN and infinity are named where they arise, and never compared."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import lensdepth as ld
from lensdepth import metrics, polar
from lensdepth.finite import NotFinite, advice, all_finite, first_row
from lensdepth.hooks import SiteEdit
from lensdepth.replay import replay, replay_measure
from lensdepth.site import depth_hook
from lensdepth.sweep.readings import checked_metric

PROMPTS = list(architectures.PROMPTS)
Folder = Callable[[str], Path]


def half(model_folder: Folder, architecture: str, backend: str) -> ld.DepthModel:
    """A model of its own, to be spoilt."""
    return ld.load_model(model_folder(architecture), backend=backend, dtype="float16")  # type: ignore[arg-type]


def parameter(model: ld.DepthModel, pattern: str) -> Tensor:
    found = [p for name, p in model.model.named_parameters() if re.search(pattern, name)]
    assert len({p.data_ptr() for p in found}) == 1, pattern
    return found[0].data


@pytest.fixture
def overflowing(model_folder: Folder, backend: str) -> ld.DepthModel:
    """What its block 1 adds is beyond float16 at any token, so depth 2 is the first such one."""
    model = half(model_folder, "llama", backend)
    parameter(model, r"\.1\..*(W_out|down_proj)").mul_(4e4)
    model.check_weights()
    return model


HERE = r"'llama' in float16: the residual stream is not finite from depth 2 of 3 on, first at token"
SAYS = rf"{HERE} \d+ \('.+'\) of the prompt '.+'\. float16 ends at 65504; .*dtype='bfloat16' or"

MEASURE: dict[str, Callable[[ld.DepthModel, ld.Task], Any]] = {
    "logits": lambda m, t: m.logits(PROMPTS),
    "log_probs": lambda m, t: m.log_probs(PROMPTS),
    "residual_stream": lambda m, t: m.residual_stream(PROMPTS, "all"),
    "activations": lambda m, t: m.activations(PROMPTS, ["blocks.2.hook_attn_out"]),
    "attention": lambda m, t: m.attention(PROMPTS, [2]),
    "generate": lambda m, t: m.generate(PROMPTS[0]),
    "correct": lambda m, t: ld.load_task("months", m, n=4, keep="correct"),
    "pair_task": lambda m, t: ld.pair_task(PROMPTS[0], PROMPTS[1], m),
    "logit_lens": lambda m, t: ld.logit_lens(m, t),
    "fit_tuned_lens": lambda m, t: ld.fit_tuned_lens(m, t, n_steps=1),
    "geometry": lambda m, t: ld.geometry_profile(m, t),
    "patch": lambda m, t: ld.patch_sweep(m, t),
    "patch at late depths": lambda m, t: ld.patch_sweep(m, t, depths=[3]),
    "attribution": lambda m, t: ld.patch_sweep(m, t, method="attribution"),
    "windows": lambda m, t: ld.patch_windows(m, t),
    "ablation": lambda m, t: ld.ablation_sweep(m, t),
    "dose": lambda m, t: ld.dose_response(m, t),
    "decode": lambda m, t: ld.decode_parts(m, t),
    "steering": lambda m, t: ld.steering_sweep(m, t),
    "locality": lambda m, t: ld.compare_local_global(m, t),
    "shapley": lambda m, t: ld.shapley_depths(m, t),
    "trajectory": lambda m, t: ld.trajectory_response(m, t),
    "transfer": lambda m, t: ld.transfer_matrix(m, t),
    "attribute_logits": lambda m, t: ld.attribute_logits(m, t),
    "attention_patterns": lambda m, t: ld.attention_patterns(m, PROMPTS[0]),
    "components": lambda m, t: ld.patch_components(m, t, ["L0H1", "MLP1"]),
    "intervene": lambda m, t: ld.intervene(m, PROMPTS[0], PROMPTS[1], depth=1),
    "claims": lambda m, t: ld.evaluate_claims(m, t),
}


def test_every_analysis_names_the_first_depth_the_prompt_and_the_dtype(
    overflowing: ld.DepthModel,
) -> None:
    task = ld.load_task("months", overflowing, n=40)
    for name, measure in MEASURE.items():
        with pytest.raises(NotFinite, match=SAYS) as caught:
            measure(overflowing, task)
        assert "\n" not in str(caught.value), name


def test_one_prompt_of_many_is_told(model_folder: Folder, backend: str) -> None:
    model = half(model_folder, "gpt2", backend)
    bad = model.tokenize([" Mary"]).row(0)
    assert len(bad) == 1
    # 65000 is a number of float16 and 65000 + 600 is none, so depth 0 of this token is infinite.
    parameter(model, r"^embed\.W_E|wte")[bad[0], 0] = 65000
    parameter(model, r"W_pos|wpe")[:, 0] = 600
    for pattern in (r"ln_final\.w|ln_f\..*weight", r"ln_final\.b|ln_f\..*bias"):
        parameter(model, pattern)[0] = 0  # so the logit of that token stays finite
    good = [PROMPTS[0], PROMPTS[1], PROMPTS[3]]
    assert model.logits(good).isfinite().all()
    said = r"from depth 0 of 3 on, first at token 3 \(' Mary'\) of the prompt 'So then Mary went'"
    for measure in (
        lambda prompts: model.logits(prompts),
        lambda prompts: model.residual_stream(prompts, batch_size=1),
        lambda prompts: ld.logit_lens(model, prompts),
    ):
        measure(good)
        with pytest.raises(NotFinite, match=said):
            measure([*good, "So then Mary went"])
    # Padding is never read, but 0 times infinity is no number: it is told apart from the prompt.
    ragged = model.tokenize([model.tokenize([PROMPTS[0]]).row(0), [5]])
    ragged.tokens[1, 1:] = bad[0]
    with pytest.raises(NotFinite, match=r"the run of the prompt '%' is finite by itself and not b"):
        model.residual_stream(ragged, "all")
    assert model.residual_stream(ragged, "all", batch_size=1).resid.isfinite().all()


def test_logits_that_overflow_over_finite_states(model_folder: Folder, backend: str) -> None:
    model = half(model_folder, "llama", backend)
    model.readout(torch.ones(1, model.d_model))  # compared while they are finite
    parameter(model, r"unembed\.W_U|lm_head.*weight").mul_(6e4)
    said = r"in float16: the states are finite and the logits read from depth 3 are not, of the "
    with pytest.raises(NotFinite, match=rf"{said}prompt '(<bos> )?Two months from January is'"):
        model.logits(PROMPTS)
    sets = [[], []]
    with pytest.raises(NotFinite, match=rf"{said}prompt"):
        replay_measure(model, PROMPTS, sets, lambda logits, _: {"x": logits[:, 0]}, check=False)
    with pytest.raises(NotFinite, match=r"are not finite of the prompt|depth 3 are not, of the"):
        ld.logit_lens(model, PROMPTS)
    fresh = ld.DepthModel(model.model, tokenizer=model.tokenizer)
    with pytest.raises(NotFinite, match=r"not finite at every token of a probe\. float16"):
        fresh.readout(torch.ones(1, model.d_model))


def test_an_edit_that_makes_a_run_infinite_is_named(tiny_llama: ld.DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    nan = torch.zeros(len(batch), tiny_llama.d_model)
    nan[2] = torch.nan
    edit = SiteEdit(hook=depth_hook(2, 3), positions=batch.last, edit=polar.full_swap, source=nan)
    said = r"put in at blocks\.1\.hook_resid_post makes the run of the prompt '.*When Mary"
    with pytest.raises(NotFinite, match=said):
        next(tiny_llama.run_edits(batch, [[edit]]))
    for engine in ("replay", "hooks"):
        with pytest.raises(NotFinite, match=said):
            list(replay(tiny_llama, batch, [[], [edit]], engine=engine))
    with pytest.raises(NotFinite, match=r"states to be read hold NaN .* at state 2 of 4"):
        tiny_llama.readout(nan)
    # The model is as it was.
    assert tiny_llama.logits(batch).isfinite().all()


def test_loading_probes_with_the_models_own_bos(model_folder: Folder, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder("llama"), dtype=torch.float32)
    tokenizer = architectures.word_tokenizer()
    bos, word = tokenizer("January")["input_ids"]
    with torch.no_grad():
        model.model.embed_tokens.weight[bos] = 0
        model.model.embed_tokens.weight[bos, 0] = 6e4
        row = model.model.layers[0].mlp.down_proj.weight[0]

        def first(token: int) -> float:
            ids = torch.tensor([[token]])
            states = model(ids, output_hidden_states=True).hidden_states
            return float(states[1][0, 0, 0])

        # What block 0 adds to coordinate 0 is linear in this row.
        rest = first(bos) - 6e4
        row *= 1e4 / rest if abs(rest) > 1e-3 else 1.0
        if first(bos) < 65504:
            row *= -1
        assert first(bos) > 66000 > 65504 > abs(first(word))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    said = r"in float16, '.*' fails on a probe: the residual stream is not finite from depth 1 on"
    with pytest.raises(ValueError, match=rf"load_model: {said}\. float16 ends at 65504"):
        ld.load_model(tmp_path, dtype="float16")
    assert ld.load_model(tmp_path, dtype="bfloat16").logits(PROMPTS).isfinite().all()


def test_metrics_keep_nan_or_refuse_it() -> None:
    fine, nan = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, torch.nan, 3.0]])
    token = torch.tensor([0])
    for x, y in ((fine, nan), (nan, fine), (nan, nan)):
        assert metrics.kl_divergence(x, y).isnan().all()
        assert metrics.js_divergence(x, y).isnan().all()
    assert metrics.entropy(nan).isnan().all()
    assert metrics.token_log_prob(nan, token).isnan().all()
    assert metrics.logit_diff(nan, torch.tensor([1]), token).isnan().all()
    assert metrics.transferred_fraction(nan[:, 1], fine[0, :1], fine[0, 1:2]).isnan().all()
    assert metrics.transferred_fraction(fine[0, :1], nan[0, 1:2], fine[0, 1:2]).isnan().all()
    for compare in (metrics.token_rank, metrics.is_top1):
        with pytest.raises(ValueError, match=r"logits at \[1\] hold NaN"):
            compare(torch.cat([fine, nan]), torch.tensor([0, 0]))
    # A logit of minus infinity is a probability of 0, and no fault.
    masked = torch.tensor([[1.0, -torch.inf, 3.0]])
    assert metrics.token_rank(masked, token).tolist() == [1]
    assert metrics.kl_divergence(masked, fine).isfinite().all()


def test_a_metric_of_the_users_gives_finite_numbers() -> None:
    def odds(logits: Tensor, pairs: Tensor) -> Tensor:
        return torch.tensor([0.0, torch.nan])

    with pytest.raises(ValueError, match="'odds' gave NaN or infinity for pair 7"):
        checked_metric(odds, torch.zeros(2, 3), torch.tensor([4, 7]))


def test_pairs_without_a_transferred_fraction_are_counted(
    trained: ld.DepthModel, capitals: ld.Task, caplog: pytest.LogCaptureFixture
) -> None:
    def same(logits: Tensor, pairs: Tensor) -> Tensor:  # in pair 3 base and source agree
        return torch.where(pairs == 3, 1.0, metrics.logit_diff(logits, right[pairs], wrong[pairs]))

    assert capitals.target_ids is not None
    assert capitals.foil_ids is not None
    right, wrong = capitals.target_ids, capitals.foil_ids
    ld.patch_sweep(trained, capitals, depths=[1], controls=())
    assert not caplog.records
    found = ld.patch_sweep(trained, capitals, depths=[1], controls=(), metric=same)
    assert "patch_sweep: base and source have the same same in 1 of 12 pairs" in caplog.text
    assert found.transferred[3].isnan().all()
    assert not found.transferred[4].isnan().any()


def test_finite_by_sums() -> None:
    large = torch.tensor([3e38, 3e38])
    assert all_finite(large)  # though their sum is not
    assert all_finite(torch.full((9,), 6e4, dtype=torch.float16))
    assert all_finite(torch.zeros(0))
    for wrong in (torch.inf, -torch.inf, torch.nan):
        x = torch.zeros(3, 2, 2)
        x[1, 0, 1] = wrong
        assert not all_finite(x)
        assert first_row(x) == 1
    assert not all_finite(torch.tensor([torch.inf, -torch.inf]))
    assert "float16" not in advice(torch.float32)
