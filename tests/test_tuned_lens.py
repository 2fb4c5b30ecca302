"""Translators in front of the readout: identities, what fitting does, and files of others."""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Load
from torch.serialization import get_crc32_options, set_crc32_options

from lensdepth import (
    DepthModel,
    TunedLens,
    fit_tuned_lens,
    load_jacobian_lens,
    load_model,
    load_task,
    load_tuned_lens,
    logit_lens,
)
from lensdepth.cli import main
from lensdepth.cli.fitting import sentences
from lensdepth.conversion import has_hooked_transformer
from lensdepth.fingerprints import fingerprint
from lensdepth.lens import files, fit, read, text_prompts
from lensdepth.lens.fit import estimate_seconds
from lensdepth.lens.texts import WINDOW, _pieces
from lensdepth.provenance import Backend, make_provenance

PROMPTS = ["The capital of France is", "If it is May now, in two months it will be"]


def lens_of(model: DepthModel, *, size: float = 0.0, seed: int = 0) -> TunedLens:
    """Maps with random entries of this size; the identity at 0."""
    generator = torch.Generator().manual_seed(seed)
    shape = (model.n_layers, model.d_model, model.d_model)
    return TunedLens(
        provenance=make_provenance("test", model.info, task="none", prompts=(), settings={}),
        kind="tuned",
        weights=size * torch.randn(shape, generator=generator),
        bias=size * torch.randn(shape[:2], generator=generator),
        kl_before=None,
        kl_after=None,
    )


@pytest.fixture(scope="module")
def fitted(trained: DepthModel) -> TunedLens:
    return fit_tuned_lens(trained, load_task("months", trained, n=60), n_steps=25)


# ---------------------------------------------------------------- reading


def test_the_identity_is_the_logit_lens_exactly(trained: DepthModel) -> None:
    plain = logit_lens(trained, PROMPTS, positions="all")
    same = logit_lens(trained, PROMPTS, positions="all", translators=lens_of(trained))
    for name in ("kl", "entropy", "top_tokens", "top_log_probs", "final_rank"):
        torch.testing.assert_close(
            getattr(same, name), getattr(plain, name), atol=0, rtol=0, equal_nan=True
        )


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_it_equals_the_definition_written_out_naively(
    load_tiny: Load, backend: Backend, architecture: str
) -> None:
    model = load_tiny(architecture, backend)
    lens = lens_of(model, size=0.1)
    profile = logit_lens(model, PROMPTS, positions="all", translators=lens, top_k=2)
    for i, prompt in enumerate(PROMPTS):
        resid = model.residual_stream(prompt, "all").resid[:, 0]
        log_p = model.log_probs(prompt, "all")[0]
        for depth in range(model.n_layers + 1):
            states = []
            for state in resid[depth]:
                if depth < model.n_layers:
                    state = state + lens.weights[depth] @ state + lens.bias[depth]
                states.append(state)
            log_q = model.readout(torch.stack(states)).log_softmax(-1)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1)
            n_pos = len(states)
            torch.testing.assert_close(profile.kl[depth, i, :n_pos], kl, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                profile.top_log_probs[depth, i, :n_pos, 0], log_q.amax(-1), atol=1e-5, rtol=1e-5
            )


def test_at_depth_l_nothing_is_translated(trained: DepthModel) -> None:
    lens = lens_of(trained, size=1.0)
    profile = logit_lens(trained, PROMPTS, translators=lens, top_k=trained.d_vocab)
    own = trained.log_probs(PROMPTS)[:, 0].sort(descending=True).values
    torch.testing.assert_close(profile.top_log_probs[-1, :, 0], own, atol=1e-5, rtol=0)
    assert (profile.kl[-1] == 0).all()


def test_the_profile_says_whose_maps_it_used(trained: DepthModel) -> None:
    lens = lens_of(trained, size=0.1)
    profile = logit_lens(trained, PROMPTS, translators=lens)
    said = profile.provenance.settings["translators"]
    assert said["kind"] == "tuned"
    assert said["fingerprint"] == lens.described()["fingerprint"]
    assert said["fingerprint"] != lens_of(trained, size=0.2).described()["fingerprint"]
    assert profile.name == "Tuned lens"
    assert logit_lens(trained, PROMPTS).name == "Logit lens"


def test_a_lens_of_another_model_is_refused(trained: DepthModel, load_tiny: Load) -> None:
    other = load_tiny("llama", "bridge")
    lens = lens_of(trained)
    with pytest.raises(
        ValueError, match=r"belong to 'tiny' with fingerprint .* Fit a lens on this"
    ):
        logit_lens(other, PROMPTS, translators=lens)
    made = lens.provenance
    changed = replace(made, model=replace(made.model, n_layers=7))
    with pytest.raises(ValueError, match="with n_layers 7; 'tiny' has 3"):
        logit_lens(trained, PROMPTS, translators=replace(lens, provenance=changed))


# ---------------------------------------------------------------- fitting


def test_held_out_loss_falls_at_every_depth(fitted: TunedLens) -> None:
    assert fitted.kl_before is not None
    assert fitted.kl_after is not None
    before, after = fitted.kl_before.mean(0), fitted.kl_after.mean(0)
    assert (after < before).all()
    assert after[0] < before[0] / 2


@pytest.mark.parametrize("include_first", [False, True])
def test_the_losses_are_those_of_the_prompts_left_out(
    trained: DepthModel, include_first: bool
) -> None:
    task = load_task("months", trained, n=20)
    lens = fit_tuned_lens(trained, task, n_steps=2, include_first=include_first)
    n = lens.provenance.settings["n_held_out"]
    rows = list(dict.fromkeys(tuple(task.clean_tokens.row(i)) for i in range(len(task))))
    assert lens.provenance.settings["n_fitted"] + n == len(rows)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:n]
    prompts = [list(rows[i]) for i in order.sort().values]
    for translators, values in ((None, lens.kl_before), (lens, lens.kl_after)):
        profile = logit_lens(trained, prompts, positions="all", translators=translators)
        expected = profile.kl[:-1, :, 0 if include_first else 1 :].nanmean(-1).T
        assert values is not None
        torch.testing.assert_close(values, expected)


def test_a_step_follows_the_gradient_of_the_divergence(trained: DepthModel) -> None:
    """Against automatic differentiation of the divergence written out, over ragged prompts."""
    lens = lens_of(trained, size=0.05)
    stream = trained.residual_stream(PROMPTS, "all")
    states = stream.resid[:, stream.positions >= 1]
    unit = torch.full((trained.n_layers, 1), 2.0)
    weights, shift = lens.weights.requires_grad_(), lens.bias.requires_grad_()
    log_p = trained.readout(states[-1]).log_softmax(-1)
    moved = states[:-1] + states[:-1] @ weights.mT + (2 * shift)[:, None]
    log_q = trained.readout(moved, grad=True).log_softmax(-1)
    (log_p.exp() * (log_p - log_q)).sum().backward()
    found = fit._gradients(trained, states, weights, shift, unit)
    for mine, expected in zip(found, (weights.grad, shift.grad), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-3)


def test_the_model_is_left_as_it_was(load_tiny: Load, backend: Backend) -> None:
    model = load_tiny("gpt2", backend)
    needs = [weight.requires_grad for weight in model.model.parameters()]
    before = fingerprint(model.model.state_dict())
    fit_tuned_lens(model, PROMPTS, n_steps=2, held_out=0.5)
    assert fingerprint(model.model.state_dict()) == before
    assert all(weight.grad is None for weight in model.model.parameters())
    assert [weight.requires_grad for weight in model.model.parameters()] == needs


def test_small_chunks_and_equal_prompts_change_nothing(
    trained: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_tuned_lens(trained, PROMPTS * 2, n_steps=3, held_out=0.5)
    monkeypatch.setattr(read, "LOGITS_AT_ONCE", trained.d_vocab * (trained.n_layers + 1) * 2)
    parts = fit_tuned_lens(trained, PROMPTS, n_steps=3, held_out=0.5)
    assert parts.kl_after is not None
    assert whole.kl_after is not None
    torch.testing.assert_close(parts.kl_after, whole.kl_after, atol=1e-3, rtol=1e-3)


def test_a_seed_gives_one_lens(trained: DepthModel) -> None:
    prompts = [f"Two months from {month} is" for month in ("January", "May", "June", "July")]
    lenses = [fit_tuned_lens(trained, prompts, n_steps=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(lenses[0].weights, lenses[1].weights)
    assert not torch.equal(lenses[0].weights, lenses[2].weights)


def test_prompts_of_one_token_have_their_first_position_alone(trained: DepthModel) -> None:
    single = [[1], [5]]
    fit_tuned_lens(trained, single, n_steps=1, held_out=0.5, include_first=True)
    with pytest.raises(ValueError, match=r"2 different prompts of 2 or more tokens .* got 0"):
        fit_tuned_lens(trained, single, n_steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1, got 0"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must lie between 0 and 1, got 0.0"),
        ({"held_out": 1.0}, "held_out must lie between 0 and 1, got 1.0"),
    ],
)
def test_bad_options_are_refused_before_any_pass(
    trained: DepthModel, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(DepthModel, "residual_stream", None)
    with pytest.raises(ValueError, match=message):
        fit_tuned_lens(trained, PROMPTS, **options)
    with pytest.raises(ValueError, match="2 different prompts"):
        fit_tuned_lens(trained, [PROMPTS[0]] * 5)


def test_it_saves_loads_and_plots(fitted: TunedLens, trained: DepthModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "lens.safetensors")
    again = TunedLens.load(tmp_path / "lens.safetensors")
    assert again.provenance == fitted.provenance
    assert torch.equal(again.weights, fitted.weights)
    frame = again.to_frame()
    assert list(frame.depth) == list(range(trained.n_layers))
    assert (frame.kl_after_low <= frame.kl_after).all()
    figure: Any = again.plot()
    assert len(figure.data) == 4  # two curves with bands
    bare = lens_of(trained, size=0.1)
    assert "kl_after" not in bare.to_frame()
    figure = bare.plot()
    assert len(figure.data) == 1


def test_numbers_that_are_not_finite_are_refused(trained: DepthModel) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        lens_of(trained, size=torch.inf)


# ---------------------------------------------------------------- files of other packages


def write_tuned(folder: Path, lens: TunedLens, *, bias: bool = True, **config: Any) -> Path:
    """A folder as the tuned-lens package saves it."""
    folder.mkdir(exist_ok=True)
    state = {f"{i}.weight": weight for i, weight in enumerate(lens.weights)}
    if bias:
        state |= {f"{i}.bias": value for i, value in enumerate(lens.bias)}
    torch.save(state, folder / "params.pt")
    about = {
        "base_model_name_or_path": "toy",
        "d_model": lens.weights.shape[-1],
        "num_hidden_layers": lens.n_layers,
        "bias": bias,
        "lens_type": "linear_tuned_lens",
    }
    (folder / "config.json").write_text(json.dumps(about | config))
    return folder


@pytest.mark.parametrize("bias", [True, False])
def test_a_folder_of_the_tuned_lens_package(
    trained: DepthModel, tmp_path: Path, bias: bool
) -> None:
    made = lens_of(trained, size=0.1)
    lens = load_tuned_lens(write_tuned(tmp_path / "lens", made, bias=bias), trained)
    assert torch.equal(lens.weights, made.weights)
    assert torch.equal(lens.bias, made.bias if bias else torch.zeros_like(made.bias))
    profile = logit_lens(trained, PROMPTS[0], positions="all", translators=lens)
    # As the package computes it: translator i on hidden_states[i], its output added.
    hidden = trained.residual_stream(PROMPTS[0], "all").resid[:, 0]
    for i in range(trained.n_layers):
        linear = torch.nn.Linear(trained.d_model, trained.d_model, bias=bias)
        state = {"weight": made.weights[i], **({"bias": made.bias[i]} if bias else {})}
        linear.load_state_dict(state)
        with torch.no_grad():
            log_q = trained.readout(hidden[i] + linear(hidden[i])).log_softmax(-1)
        torch.testing.assert_close(
            profile.top_log_probs[i, 0, :, 0], log_q.amax(-1), atol=1e-5, rtol=1e-5
        )


def test_damaged_and_foreign_folders_are_refused(trained: DepthModel, tmp_path: Path) -> None:
    folder, made = tmp_path / "lens", lens_of(trained)

    def refused(message: str, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=message):
            load_tuned_lens(folder, trained)

    refused(r"there is no file '.*config\.json'", FileNotFoundError)
    write_tuned(folder, made, d_model=7)
    refused(rf"has d_model 7, where 'tiny' has {trained.d_model}")
    write_tuned(folder, made, lens_type="other")
    refused("holds a 'other'")
    write_tuned(folder, made)
    state = torch.load(folder / "params.pt", weights_only=True)
    torch.save(state | {"0.weight": torch.zeros(4, 32)}, folder / "params.pt")
    refused(r"0\.weight must have shape \[\d+, \d+\], got \[4, \d+\]")
    torch.save({"0.weight": torch.zeros(2, 2)}, folder / "params.pt")
    refused("is missing or too much")
    torch.save([1], folder / "params.pt")
    refused("holds a list, not a dict")
    torch.save({"0.weight": Path("unsafe")}, folder / "params.pt")
    refused("is no file of tensors alone")
    (folder / "params.pt").write_bytes(b"nothing")
    refused("is no file of tensors alone")
    (folder / "config.json").write_text("{")
    refused("is not JSON")


def hash_by_hand(matrix: torch.Tensor) -> str:
    """As `tensor_hash` of tuned-lens 0.2 has it: of what NumPy prints."""
    text = np.array_str(matrix.detach().float().numpy(), precision=1)
    return hashlib.sha256(text.encode()).hexdigest()


def said_by(caplog: pytest.LogCaptureFixture) -> str:
    text = " ".join(r.getMessage() for r in caplog.records if r.name == "lensdepth.lens.files")
    caplog.clear()
    return text


def test_the_hash_of_the_unembedding_decides(
    trained: DepthModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, matrix = lens_of(trained, size=0.1), trained.unembedding()[0]
    caplog.set_level(logging.WARNING)
    load_tuned_lens(
        write_tuned(tmp_path / "lens", made, unembed_hash=hash_by_hand(matrix)), trained
    )
    assert said_by(caplog) == ""  # the name is another one, and the hash knows better
    in_half = hash_by_hand(matrix.half())
    load_tuned_lens(write_tuned(tmp_path / "lens", made, unembed_hash=in_half), trained)
    assert said_by(caplog) == ""
    other = write_tuned(tmp_path / "lens", made, unembed_hash=hash_by_hand(matrix + 0.3))
    with pytest.raises(ValueError, match=r"another unembedding than that of 'tiny' .* strict=Fals"):
        load_tuned_lens(other, trained)
    lens = load_tuned_lens(other, trained, strict=False)
    assert torch.equal(lens.weights, made.weights)
    assert "another unembedding than that of 'tiny'" in said_by(caplog)
    with pytest.raises(ValueError, match="another unembedding"):
        load_tuned_lens(write_tuned(tmp_path / "lens", made, unembed_hash=7), trained)


def test_settings_of_numpy_do_not_change_the_hash(trained: DepthModel) -> None:
    matrix = trained.unembedding()[0]
    plain = files.unembedding_hashes(matrix)
    assert hash_by_hand(matrix) in plain
    with np.printoptions(precision=8, threshold=10, edgeitems=1, suppress=True, linewidth=200):
        assert files.unembedding_hashes(matrix) == plain


def test_in_half_precision_another_hash_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model("tiny", dtype="bfloat16")
    folder = write_tuned(tmp_path / "lens", lens_of(model), unembed_hash="0" * 64)
    load_tuned_lens(folder, model)
    said = said_by(caplog)
    assert "or bfloat16 hides that it is the same one" in said
    assert "load the model in float32" in said


def test_without_a_hash_another_name_is_said(
    trained: DepthModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = lens_of(trained)
    load_tuned_lens(write_tuned(tmp_path / "lens", made), trained)
    assert "was fitted on the model 'toy' and is loaded for 'tiny'" in said_by(caplog)
    for name in ("somewhere/tiny", "/home/me/Tiny/", "tiny"):
        folder = write_tuned(tmp_path / "lens", made, base_model_name_or_path=name)
        load_tuned_lens(folder, trained)
        assert said_by(caplog) == ""
    folder = write_tuned(
        tmp_path / "lens", made, base_model_name_or_path="tiny", base_model_revision="v2"
    )
    load_tuned_lens(folder, trained)
    assert "was fitted on the revision 'v2'" in said_by(caplog)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "must hold an object, got None"),
        ("[1]", "must hold an object"),
        ("[" * 50_000, "is not JSON: maximum recursion depth"),
        (f'{{"d_model": {"9" * 5000}}}', "is not JSON"),
        (" " * 200_000, "more than 100,000 characters"),
        ('{"lens_type": {"a": 1}}', "holds a "),
        ('{"d_model": true}', "has d_model True"),
    ],
)
def test_odd_descriptions_are_refused(
    trained: DepthModel, tmp_path: Path, text: str, message: str
) -> None:
    folder = write_tuned(tmp_path / "lens", lens_of(trained))
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_tuned_lens(folder, trained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.int(), "must be floating-point numbers, got int32"),
        (lambda m: m.to(torch.complex64), "got complex64"),
        (lambda m: m.to_sparse(), "got a torch.sparse_coo tensor"),
        (lambda m: m.to("meta"), "got a tensor on meta"),
        (lambda m: m * torch.nan, "not finite"),
        (lambda m: torch.full_like(m, 1e300, dtype=torch.float64), "not finite in float32"),
    ],
)
def test_tensors_that_are_no_plain_numbers(
    trained: DepthModel, tmp_path: Path, change: Callable[[torch.Tensor], Any], message: str
) -> None:
    made = lens_of(trained)
    folder = write_tuned(tmp_path / "lens", made)
    state = torch.load(folder / "params.pt", weights_only=True)
    torch.save(state | {"1.weight": change(state["1.weight"])}, folder / "params.pt")
    with pytest.raises(ValueError, match=message):
        load_tuned_lens(folder, trained)
    write_jacobian(tmp_path / "lens.pt", trained)
    state = torch.load(tmp_path / "lens.pt", weights_only=True)
    state["J"][0] = change(state["J"][0])
    torch.save(state, tmp_path / "lens.pt")
    with pytest.raises(ValueError, match=message):
        load_jacobian_lens(tmp_path / "lens.pt", trained)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"metadata": {"estimator": "regression"}}, "says estimator 'regression'"),
        ({"metadata": {"hook_convention": "blocks.{layer}.hook_mlp_out"}}, "says hook_convention"),
        ({"metadata": {"processing": {"compatibility_mode": True}}}, "compatibility_mode True"),
        ({"metadata": {"processing": {"weight_basis": "folded"}}}, "weight_basis 'folded'"),
        ({"metadata": [1]}, "which is no dict"),
        ({"metadata": {"target_layer": torch.zeros(2)}}, "leads to layer"),
        ({"d_model": 7}, "says d_model 7"),
        ({"J": {"x": 1}}, "must hold 'J' with layers"),
    ],
)
def test_what_a_jacobian_file_says_is_compared(
    trained: DepthModel, tmp_path: Path, about: dict[str, Any], message: str
) -> None:
    write_jacobian(tmp_path / "lens.pt", trained, **about)
    with pytest.raises(ValueError, match=message):
        load_jacobian_lens(tmp_path / "lens.pt", trained)


def test_the_name_in_a_jacobian_file_is_compared(
    trained: DepthModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = {"model_name": "someone/other", "model_revision": "abc"}
    write_jacobian(tmp_path / "lens.pt", trained, metadata=about)
    load_jacobian_lens(tmp_path / "lens.pt", trained)
    said = said_by(caplog)
    assert "fitted on the revision 'abc' in the model 'someone/other'" in said
    write_jacobian(tmp_path / "lens.pt", trained, metadata={"model_name": "someone/tiny"})
    load_jacobian_lens(tmp_path / "lens.pt", trained)
    assert said_by(caplog) == ""


def write_jacobian(path: Path, model: DepthModel, **more: Any) -> dict[int, torch.Tensor]:
    """A file in the format of Jacobian lenses."""
    generator = torch.Generator().manual_seed(0)
    layers = range(model.n_layers - 1)
    shape = (model.d_model, model.d_model)
    jacobians = {i: torch.randn(shape, generator=generator) / 9 for i in layers}
    about = {"n_prompts": 3, "source_layers": list(layers), "d_model": model.d_model}
    torch.save({"J": jacobians, **about, **more}, path)
    return jacobians


def test_a_jacobian_lens_multiplies_the_output_of_its_layer(
    trained: DepthModel, tmp_path: Path
) -> None:
    jacobians = write_jacobian(tmp_path / "lens.pt", trained)
    lens = load_jacobian_lens(tmp_path / "lens.pt", trained)
    profile = logit_lens(trained, PROMPTS[0], translators=lens)
    assert profile.name == "Jacobian lens"
    states = trained.residual_stream(PROMPTS[0]).resid[:, 0]
    expected = torch.stack(
        [
            states[0],
            *(states[i + 1] @ jacobian.T for i, jacobian in jacobians.items()),
            states[-1],
        ]
    )
    log_q = trained.readout(expected).log_softmax(-1)
    torch.testing.assert_close(
        profile.top_log_probs[:, 0, :, 0], log_q.amax(-1), atol=1e-4, rtol=1e-4
    )


def test_a_lens_in_which_a_bit_is_another_is_refused(trained: DepthModel, tmp_path: Path) -> None:
    """torch would load it, for it reads no checksums."""
    path = tmp_path / "lens.pt"
    jacobians = write_jacobian(path, trained)
    whole = path.read_bytes()
    number = whole.index(jacobians[0].numpy().tobytes()) + 5
    disk = whole.rindex(b"PK\x06\x07") + 4  # of several, which Python's zipfile refuses at once
    for place in (number, disk):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        with pytest.raises(
            ValueError, match=r"^load_jacobian_lens: .*lens.pt' is damaged: "
        ) as said:
            load_jacobian_lens(path, trained)
        assert "\n" not in str(said.value)
    state, kept = torch.load(io.BytesIO(whole), weights_only=True), get_crc32_options()
    torch.save(state, path, _use_new_zipfile_serialization=False)  # these have no checksums
    assert load_jacobian_lens(path, trained).n_layers == trained.n_layers
    set_crc32_options(False)
    try:
        torch.save(state, path)
    finally:
        set_crc32_options(kept)
    assert load_jacobian_lens(path, trained).n_layers == trained.n_layers


def test_other_jacobian_files_are_refused(trained: DepthModel, tmp_path: Path) -> None:
    path = tmp_path / "lens.pt"
    write_jacobian(path, trained, metadata={"target_layer": 1})
    with pytest.raises(ValueError, match="leads to layer 1, not to the last one"):
        load_jacobian_lens(path, trained)
    torch.save({"J": {0: torch.zeros(2, 2)}}, path)
    with pytest.raises(ValueError, match=r"must hold 'J' with layers 0 \.\.\. .* got \[0\]"):
        load_jacobian_lens(path, trained)
    torch.save({"other": 1}, path)
    with pytest.raises(ValueError, match="got no 'J'"):
        load_jacobian_lens(path, trained)


@pytest.mark.skipif(has_hooked_transformer(), reason="TransformerLens 4 fits Jacobian lenses")
def test_it_reads_what_transformer_lens_fits(load_tiny: Load, tmp_path: Path) -> None:
    from transformer_lens.tools.analysis import JacobianLens  # type: ignore[attr-defined]

    model = load_tiny("llama", "bridge")
    path = tmp_path / "lens.pt"
    theirs = JacobianLens.fit(
        model.model, PROMPTS, corpus="test", skip_first_positions=1, show_progress=False
    )
    theirs.save(str(path), dtype=torch.float32)
    found = theirs.readout(model.model, PROMPTS[0], top_k=4)
    profile = logit_lens(
        model, PROMPTS[0], positions="all", top_k=4, translators=load_jacobian_lens(path, model)
    )
    for layer, ids in found.lens_topk_indices.items():
        assert torch.equal(profile.top_tokens[layer + 1, 0], ids)


# ---------------------------------------------------------------- on text, and beside the other


def test_text_is_read_in_pieces_and_only_as_far_as_needed(
    trained: DepthModel, tmp_path: Path
) -> None:
    words = " ".join(f"January is {i}\n" for i in range(2000))
    file = tmp_path / "text.txt"
    file.write_text(words, encoding="utf-8")
    some = text_prompts(file, trained, n_tokens=300)
    most = min(WINDOW, trained.info.n_ctx)
    assert int(some.lengths.max()) <= most
    assert 300 <= int(some.lengths.sum()) < 300 + most
    # The pieces, put together, are the text: nothing is cut within a word.
    pieces = [*_pieces(file, 64)]
    assert all(0 < len(piece) <= 64 for piece in pieces)
    assert " ".join(" ".join(pieces).split()) == " ".join(words.split())
    whole = "x" * 200  # one word that does not fit
    file.write_text(whole, encoding="utf-8")
    assert "".join(_pieces(file, 64)) == whole
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"cannot be read as text: .* Give plain text in UTF-8"):
        text_prompts(file, trained, n_tokens=10)
    file.write_text(" \n ", encoding="utf-8")
    with pytest.raises(ValueError, match="there is no text in"):
        text_prompts(file, trained, n_tokens=10)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        text_prompts(tmp_path / "none", trained, n_tokens=10)


def test_a_fit_takes_about_as_long_as_it_is_said_to(trained: DepthModel) -> None:
    task = load_task("months", trained, n=40)
    few, many = (estimate_seconds(trained, task, n_steps=n, batch_tokens=64) for n in (10, 1000))
    assert 0 < few < many
    start = time.perf_counter()
    fit_tuned_lens(trained, task, n_steps=10, batch_tokens=64)
    # A shared machine: within an order of magnitude.
    assert 0.1 < (time.perf_counter() - start) / few < 10
    with pytest.raises(ValueError, match="at least 2 different prompts"):
        estimate_seconds(trained, ["January"])


def test_a_fit_from_the_command_line_is_read_again(
    trained: DepthModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned.safetensors"
    fit_it = ["lens", "--model", "tiny", "--fit", "--task", "months", "--n", "40", "--steps", "12"]
    assert main([*fit_it, "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    assert "12 steps of about 1,024 tokens: about" in printed.err
    found = json.loads(printed.out)["summary"]
    lens = TunedLens.load(out)
    assert lens.kl_after is not None
    assert found["kl_after"] == pytest.approx(lens.kl_after.mean(0).tolist(), abs=1e-4)
    assert len(found["kl_before"]) == lens.n_layers
    assert sum(found["kl_after"]) < sum(found["kl_before"])
    assert lens.provenance.task == "months"
    assert main(["lens", "--model", "tiny", "--tuned", str(out), "--n", "20"]) == 0
    assert "The tuned lens shows" in capsys.readouterr().out  # the tiny model's last block decides
    text = tmp_path / "text.txt"
    text.write_text("Two months from January is March. " * 40, encoding="utf-8")
    shown = ["lens", "--model", "tiny", "--fit", "--text", str(text), "--steps", "2"]
    assert main([*shown, "--out", str(tmp_path / "b.safetensors")]) == 0
    assert "held-out prompt" in capsys.readouterr().out


def test_what_a_fit_is_worth_is_told_from_several_held_out_prompts(trained: DepthModel) -> None:
    lens = lens_of(trained)
    before = 1 + torch.rand(6, lens.n_layers)
    better, worse = (replace(lens, kl_before=before, kl_after=k * before) for k in (0.5, 2.0))
    n = lens.n_layers
    assert (
        f"nearer the final distribution than the logit lens at {n} of {n} depths."
        in (sentences(better)[0])
    )
    assert f"at 0 of {n} depths, and farther from it at {n}: give it more" in sentences(worse)[0]
    alone = replace(lens, kl_before=before[:1], kl_after=before[:1])
    assert "cannot be told from 1 held-out prompt: give it more text" in sentences(alone)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fit"], "add --out FILE.safetensors"),
        (["--steps", "3"], "--steps goes with --fit"),
        (["--text", "a.txt"], "--text goes with --fit"),
        (["--fit", "--out", "x.safetensors", "--top", "5"], "--fit goes without PROMPT"),
        (["--fit", "--out", "x.safetensors", "--text", "no.txt"], "'no.txt': there is no such"),
    ],
)
def test_what_does_not_go_with_a_fit_is_said_before_any_work(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["lens", "--model", "no-such-model", *arguments]) != 0
    assert said in capsys.readouterr().err
