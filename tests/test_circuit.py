"""Parts that add up, patterns that are the model's own, and sets of components patched together."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import numpy as np
import pytest
import torch
from conftest import BACKENDS, Load
from torch import Tensor
from transformers import AutoModelForCausalLM

from lensdepth import (
    AttentionPatterns,
    AttributionProfile,
    CircuitResult,
    Component,
    DepthModel,
    Task,
    attention_patterns,
    attribute_logits,
    load_model,
    load_task,
    parse_component,
    patch_components,
    patch_sweep,
    polar,
)
from lensdepth.circuit.components import ComponentSet, named_components
from lensdepth.circuit.frozen import freeze
from lensdepth.circuit.places import together
from lensdepth.cli import main
from lensdepth.hooks import hooked
from lensdepth.metrics import logit_diff
from lensdepth.passes import Passes
from lensdepth.provenance import Backend
from lensdepth.sweep.spans import Span
from lensdepth.teaching import planted

PROMPTS = list(architectures.PROMPTS)
TARGETS, FOILS = [10, 20, 30, 40], [5, 6, 7, 8]
EVERYWHERE = [
    (name, backend)
    for backend in BACKENDS
    for name in (*architectures.CONFIGS, *architectures.BRIDGE_ONLY)
    if backend == "bridge" or name not in architectures.BRIDGE_ONLY
]


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    """Pairs of equal length, of several lengths."""
    return load_task("months", trained, n=6, template="all", seed=1, units=[])


@pytest.fixture(scope="module")
def result(trained: DepthModel, months: Task) -> CircuitResult:
    return patch_components(trained, months, ["L1H0", "MLP1"], positions="all", n_random=3)


# What a component adds to a logit.


@pytest.mark.parametrize(("architecture", "backend"), EVERYWHERE)
def test_the_parts_add_up_to_the_models_own_logits(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    profile = attribute_logits(model, PROMPTS, answers=TARGETS, foils=FOILS)
    # The readout before cap and scale, of the state that the run itself ends in.
    last = model.residual_stream(PROMPTS).resid[-1, :, 0]
    logits = model.readout(last, linear=True)
    whole = logit_diff(logits, torch.tensor(TARGETS), torch.tensor(FOILS))
    torch.testing.assert_close(profile.values.sum(0), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(profile.logit_diff, whole, rtol=1e-4, atol=1e-5)
    assert profile.values.shape == (len(profile.components), len(PROMPTS))

    alone = attribute_logits(model, PROMPTS)
    assert alone.foils is None
    centred = logits.max(-1).values - logits.mean(-1)
    torch.testing.assert_close(alone.values.sum(0), centred, rtol=1e-4, atol=1e-5)


def test_before_a_cap_the_logits_are_what_the_cap_makes_smaller(load_tiny: Load) -> None:
    model = load_tiny("gemma2", "bridge")
    state = model.residual_stream(PROMPTS).resid[-1, :, 0]
    capped, linear = model.readout(state), model.readout(state, linear=True)
    torch.testing.assert_close(5 * torch.tanh(linear / 5), capped, rtol=1e-4, atol=1e-5)
    assert (capped - linear).abs().max() > 0.1


class ByHand:
    """One prompt on the Hugging Face model, and its parts by the formula of its architecture."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.architecture = architecture
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        inner = getattr(self.model, {"gpt2": "transformer", "gpt_neox": "gpt_neox"}.get(
            architecture, "model"))  # fmt: skip
        self.blocks = inner.h if architecture == "gpt2" else inner.layers
        names = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}
        self.norm = getattr(inner, names.get(architecture, "norm"))

    def output(self, block: Any) -> tuple[Any, Tensor]:
        """The module that joins the heads, and its matrix [z, d_model]."""
        if self.architecture == "gpt2":
            return block.attn.c_proj, block.attn.c_proj.weight
        if self.architecture == "gpt_neox":
            return block.attention.dense, block.attention.dense.weight.T
        return block.self_attn.o_proj, block.self_attn.o_proj.weight.T

    def parts(self, ids: list[int], target: int, foil: int) -> tuple[Tensor, Tensor]:
        """`[layer, head]` and `[layer]`: heads and MLPs."""
        seen: dict[Any, tuple[Tensor, Tensor]] = {}
        watched = [self.output(block)[0] for block in self.blocks]
        watched += [block.mlp for block in self.blocks] + [self.norm]
        if self.architecture == "gemma2":
            watched += [block.post_attention_layernorm for block in self.blocks]
            watched += [block.post_feedforward_layernorm for block in self.blocks]
        handles = [
            module.register_forward_hook(
                lambda m, given, made: seen.__setitem__(m, (given[0][0, -1], made[0, -1]))
            )
            for module in watched
        ]
        with torch.no_grad():
            self.model(torch.tensor([ids]))
        for handle in handles:
            handle.remove()
        rows = self.model.get_output_embeddings().weight.detach()
        answer = rows[target] - rows[foil]
        last = seen[self.norm][0]

        def frozen_rms(state: Tensor, part: Tensor, norm: Any) -> Tensor:
            eps = getattr(norm, "eps", None) or norm.variance_epsilon
            weight = (
                norm.weight.detach() + 1 if self.architecture == "gemma2" else norm.weight.detach()
            )
            return weight * part / (state.square().mean() + eps).sqrt()

        def direct(part: Tensor) -> float:
            if self.architecture in ("gpt2", "gpt_neox"):
                scale = (last.var(unbiased=False) + self.norm.eps).sqrt()
                return float(self.norm.weight.detach() * (part - part.mean()) / scale @ answer)
            return float(frozen_rms(last, part, self.norm) @ answer)

        heads, mlps = [], []
        for block in self.blocks:
            module, matrix = self.output(block)
            writes = torch.einsum(
                "hd,hdm->hm",
                seen[module][0].unflatten(0, (architectures.N_HEADS, -1)),
                matrix.detach().unflatten(0, (architectures.N_HEADS, -1)),
            )
            mlp = seen[block.mlp][1]
            if self.architecture == "gemma2":
                norm = block.post_attention_layernorm
                writes = torch.stack([frozen_rms(seen[norm][0], w, norm) for w in writes])
                mlp = seen[block.post_feedforward_layernorm][1]
            heads.append([direct(write) for write in writes])
            mlps.append(direct(mlp))
        return torch.tensor(heads), torch.tensor(mlps)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_heads_and_mlps_are_what_hugging_faces_weights_give_by_hand(
    load_tiny: Load,
    model_folder: Callable[[str], Path],
    backend: Backend,
    architecture: str,
) -> None:
    """One prompt at a time there, a ragged batch here."""
    model = load_tiny(architecture, backend)
    batch = model.tokenize(PROMPTS)
    profile = attribute_logits(model, batch, answers=TARGETS, foils=FOILS)
    slow = ByHand(model_folder(architecture), architecture)
    for i, (target, foil) in enumerate(zip(TARGETS, FOILS, strict=True)):
        heads, mlps = slow.parts(batch.row(i), target, foil)
        torch.testing.assert_close(profile.heads[..., i], heads, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(profile.mlps[:, i], mlps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_in_a_planted_model_one_attention_writes_the_answer(
    tmp_path: Path, backend: Backend, architecture: Any
) -> None:
    folder = planted.switch(tmp_path / "m", n_layers=4, layer=2, architecture=architecture)
    model = load_model(folder, backend=backend)
    pairs = planted.prompt_file(
        tmp_path / "p.csv", [(0, 7), (3, 4), (8, 1)], [*range(2 * planted.N)]
    )
    task = load_task(pairs, model)
    profile = attribute_logits(model, task)
    torch.testing.assert_close(profile.heads[2].sum(0), profile.logit_diff, rtol=1e-3, atol=1e-3)
    others = torch.cat([profile.heads[[0, 1, 3]].abs().flatten(), profile.mlps.abs().flatten()])
    assert others.max() < 1e-3 < profile.logit_diff.min()

    found = patch_components(model, task, "ATTN2", n_random=0)
    torch.testing.assert_close(found.transferred[0], torch.ones(3), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.transferred[1], torch.zeros(3), rtol=1e-3, atol=1e-3)
    assert found.success.tolist() == [[1.0] * 3, [0.0] * 3, [1.0] * 3]


def test_an_edit_of_the_stream_is_no_component(tiny_llama: DepthModel) -> None:
    push = torch.full((tiny_llama.d_model,), 3.0)
    push[::2] = -3.0
    with (
        tiny_llama.steer(polar.add(), depths=2, source=push) as steered,
        pytest.raises(ValueError, match=r"add up to .* so it cannot be split"),
    ):
        attribute_logits(steered, PROMPTS)


def test_what_is_neither_heads_nor_a_norm_is_refused(
    tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.randn(architectures.N_HEADS, 8, 32, dtype=torch.float64)
    bias = torch.zeros(32, dtype=torch.float64)
    monkeypatch.setattr(
        "lensdepth.circuit.attribution.output_weights", lambda model, layer: (weights, bias)
    )
    with pytest.raises(ValueError, match=r"in block 0 .* do not add up to what the attention"):
        attribute_logits(tiny_llama, PROMPTS)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("width", [6, 7])
def test_a_norm_is_read_off_what_it_does(centred: bool, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias, shift = (
        torch.randn(width, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    states = 5 * torch.randn(3, width, generator=generator, dtype=torch.float64) + 2

    def norm(x: Tensor) -> Tensor:
        flat = x - x.mean(-1, keepdim=True) if centred else x
        return weight * flat / (flat.square().mean(-1, keepdim=True) + 1e-6).sqrt() + bias

    frozen = freeze(norm, states)
    assert frozen.centred == centred
    torch.testing.assert_close(frozen(states), norm(states), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(frozen.weight, weight, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(frozen.bias, bias, rtol=1e-6, atol=1e-6)
    part = shift.expand(3, -1)
    torch.testing.assert_close(
        (frozen.pull_back(states) * part).sum(-1), ((frozen(part) - bias) * states).sum(-1)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_add_up_as_well_as_they_can(dtype: str) -> None:
    model = load_model("tiny", dtype=dtype)
    profile = attribute_logits(model, "Two months from January is")
    exact = attribute_logits(load_model("tiny"), "Two months from January is")
    allowed = {"float16": 0.02, "bfloat16": 0.1}.get(dtype, 1e-4)
    assert (profile.values - exact.values).abs().max() <= allowed * exact.values.abs().max()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_processed_weights_add_up_to_the_same(
    model_folder: Callable[[str], Path], architecture: str
) -> None:
    """Folding moves the heads' value biases into the attention's own; nothing else moves."""
    raw = load_model(model_folder(architecture), backend="bridge")
    ids = [raw.tokenize(prompt).row(0) for prompt in PROMPTS]
    before = attribute_logits(raw, ids, answers=TARGETS, foils=FOILS)
    raw.model.enable_compatibility_mode()
    processed = DepthModel(raw.model)
    assert processed.info.weights == "processed"
    after = attribute_logits(processed, ids, answers=TARGETS, foils=FOILS)
    torch.testing.assert_close(after.logit_diff, before.logit_diff, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.mlps, before.mlps, rtol=1e-4, atol=1e-5)
    for of in (after, before):
        assert of.residual.abs().max() < 1e-4
    attention = [of.heads.sum(1) + of.attn_bias for of in (after, before)]
    torch.testing.assert_close(*attention, rtol=1e-4, atol=1e-5)


def test_a_task_brings_its_answers(trained: DepthModel, months: Task) -> None:
    profile = attribute_logits(trained, months)
    assert profile.foils is not None
    assert [text.strip() for text in profile.targets] == list(months.target or ())
    given = attribute_logits(
        trained,
        list(months.clean),
        answers=list(months.target or ()),
        foils=list(months.foil or ()),
    )
    torch.testing.assert_close(given.values, profile.values, rtol=0, atol=0)


def test_wrong_answers_are_named(trained: DepthModel, months: Task) -> None:
    prompt = "Two months from January is"
    with pytest.raises(ValueError, match="has its own answers"):
        attribute_logits(trained, months, answers=["March"] * len(months))
    with pytest.raises(ValueError, match="got 2 answers for 1 prompts"):
        attribute_logits(trained, prompt, answers=["March", "May"])
    with pytest.raises(ValueError, match=r"foils\[0\], 'in the spring', is not one token"):
        attribute_logits(trained, prompt, answers=["March"], foils=["in the spring"])
    with pytest.raises(ValueError, match=r"answers\[0\] is token 999999; the model has"):
        attribute_logits(trained, prompt, answers=[999999])
    with pytest.raises(
        ValueError, match=r"answers\[0\] is text, 'March', and its prompt token ids"
    ):
        attribute_logits(trained, trained.tokenize(prompt), answers=["March"])
    with pytest.raises(ValueError, match="no part 'L99H0'"):
        attribute_logits(trained, prompt).of("L99H0")
    with pytest.raises(ValueError, match="n must be 1 or more"):
        attribute_logits(trained, prompt).plot_largest(0)


def test_an_attribution_as_a_table_and_a_file(
    trained: DepthModel, months: Task, tmp_path: Path
) -> None:
    profile = attribute_logits(trained, months)
    frame = profile.to_frame()
    sums = frame.groupby("prompt")["value"].sum().to_numpy()
    np.testing.assert_allclose(sums, profile.logit_diff.numpy(), rtol=1e-4)
    row = frame[(frame.prompt == 2) & (frame.component == "L1H1")].iloc[0]
    assert (row.kind, row.layer, row["head"]) == ("head", 1, 1)
    assert row.value == pytest.approx(float(profile.heads[1, 1, 2]))
    means = profile.mean_frame()
    assert means["value"].abs().is_monotonic_decreasing
    assert (means.low <= means.value).all()
    assert (means.value <= means.high).all()

    profile.save(tmp_path / "a.safetensors")
    again = AttributionProfile.load(tmp_path / "a.safetensors")
    assert again.targets == profile.targets
    assert again.provenance == profile.provenance
    torch.testing.assert_close(again.values, profile.values, rtol=0, atol=0)
    assert again.pos_embed is None


def test_the_map_of_an_attribution_says_what_it_shows(
    trained: DepthModel, load_tiny: Load, months: Task
) -> None:
    figure: Any = attribute_logits(trained, months).plot()
    assert figure.layout.xaxis.ticktext[-1] == "MLP"
    assert "logit(target) − logit(foil), nats" in figure.data[0].colorbar.title.text
    assert "towards foil" in figure.data[0].colorbar.ticktext[0]
    biased = attribute_logits(load_tiny("gpt2", "bridge"), PROMPTS[:1])
    figure = biased.plot()
    assert figure.layout.xaxis.ticktext[-2:] == ("bias", "MLP")
    np.testing.assert_allclose(figure.data[0].z[:, -2], biased.attn_bias[:, 0].numpy())
    np.testing.assert_allclose(figure.data[0].z[:, -1], biased.mlps[:, 0].numpy())
    assert "1 prompt:" in figure.layout.annotations[0].text
    bars: Any = biased.plot_largest(4)
    assert list(bars.data[0].y) == biased.mean_frame().component[:4].tolist()


# Where heads look.


@pytest.mark.parametrize(("architecture", "backend"), EVERYWHERE)
def test_patterns_are_hugging_faces_own(
    load_tiny: Load, model_folder: Callable[[str], Path], architecture: str, backend: str
) -> None:
    """One prompt at a time there, a ragged batch here."""
    model = load_tiny(architecture, backend)
    batch = model.tokenize(PROMPTS)
    found = attention_patterns(model, batch)
    slow: Any = AutoModelForCausalLM.from_pretrained(
        model_folder(architecture), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    for i in range(len(PROMPTS)):
        with torch.no_grad():
            own = slow(torch.tensor([batch.row(i)]), output_attentions=True).attentions
        for layer in range(model.n_layers):
            for head in range(architectures.N_HEADS):
                torch.testing.assert_close(
                    found.of(layer, head, i), own[layer][0, head], rtol=1e-4, atol=1e-5
                )


def test_rows_sum_to_one_and_padding_is_nothing(tiny_gpt2: DepthModel) -> None:
    found = attention_patterns(tiny_gpt2, PROMPTS, layers=[2, 0])
    assert found.layers.tolist() == [0, 2]
    for i, n in enumerate(found.lengths.tolist()):
        own = found.patterns[:, i, :, :n, :n]
        torch.testing.assert_close(own.sum(-1), torch.ones(2, 4, n), rtol=1e-5, atol=1e-5)
        assert (own.triu(1) == 0).all()
        assert found.patterns[:, i, :, n:].isnan().all()
        assert found.patterns[:, i, :, :, n:].isnan().all()
    assert found.str_tokens[0] == tuple(tiny_gpt2.str_tokens(PROMPTS[0]))
    assert not tiny_gpt2.hook_points["blocks.2.attn.hook_pattern"].fwd_hooks
    by_ones = attention_patterns(tiny_gpt2, PROMPTS, batch_size=1)
    torch.testing.assert_close(
        by_ones.patterns[[0, 2]], found.patterns, rtol=1e-5, atol=1e-6, equal_nan=True
    )


def test_patterns_as_a_table_a_map_and_a_file(trained: DepthModel, tmp_path: Path) -> None:
    found = attention_patterns(trained, PROMPTS, layers=[1])
    frame = found.to_frame()
    n = found.lengths
    assert len(frame) == int((n * (n + 1) // 2).sum()) * found.patterns.shape[2]
    row = frame[(frame.prompt == 1) & (frame["head"] == 1) & (frame["query"] == 3)].iloc[2]
    assert row.probability == pytest.approx(float(found.of(1, 1, 1)[3, 2]))
    assert row.key_token == found.str_tokens[1][2]
    figure: Any = found.plot(1, 0, prompt=1)
    assert figure.data[0].z[3, 2] == pytest.approx(float(found.of(1, 0, 1)[3, 2]))
    assert np.isnan(figure.data[0].z[2, 3])
    assert figure.layout.xaxis.ticktext[0] == "&lt;bos&gt;"  # once, or it would not read as a tag
    found.save(tmp_path / "p.safetensors")
    again = AttentionPatterns.load(tmp_path / "p.safetensors")
    assert again.str_tokens == found.str_tokens
    torch.testing.assert_close(again.patterns, found.patterns, rtol=0, atol=0, equal_nan=True)


def test_patterns_that_are_not_there(trained: DepthModel) -> None:
    for layers in ([9], [0, 0], []):
        with pytest.raises(ValueError, match=r"layers must be different blocks of 0\.\.\.2"):
            attention_patterns(trained, PROMPTS, layers=layers)
    found = attention_patterns(trained, PROMPTS, layers=[1])
    with pytest.raises(ValueError, match="block 0 was not read; there are 1"):
        found.plot(0, 0)
    with pytest.raises(ValueError, match="head must lie between 0 and"):
        found.of(1, 99)
    with pytest.raises(ValueError, match="prompt must lie between 0 and 3, got 4"):
        found.of(1, 0, 4)


# Sets of components.


@pytest.mark.parametrize("text", ["L5H3", "MLP7", "ATTN4"])
def test_a_components_name_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_component(text, 8, 4)) == text
    assert parse_component(f" {text.lower()} ", 8, 4) == parse_component(text, 8, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("L8H0", r"'L8H0' names block 8; the blocks are 0\.\.\.7"),
        ("L0H4", r"names head 4; the heads of each block are 0\.\.\.3"),
        ("MLP8", "names block 8"),
        ("H3", "'H3' names no component; write L5H3"),
        ("L5", "names no component"),
        ("", "names no component"),
        ("L-1H0", "names no component"),
    ],
)
def test_a_component_that_is_not_there(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_component(text, 8, 4)


def test_components_that_contradict_themselves() -> None:
    with pytest.raises(ValueError, match="a head has a number"):
        Component("head", 3)
    with pytest.raises(ValueError, match="a head has a number"):
        Component("mlp", 3, 1)


def test_sets_of_components() -> None:
    named = named_components("L0H1, ATTN1,mlp2,L1H0", 3, 2, caller="here")
    members = ComponentSet.of(named, 3, 2)
    assert members.names() == ("L0H1", "L1H0", "L1H1", "MLP2")
    assert len(members) == 4
    assert members.complement.names() == ("L0H0", "MLP0", "MLP1", "L2H0", "L2H1")
    assert len(members.everything) == 9
    drawn = [members.drawn_like(seed) for seed in range(6)]
    assert {(int(d.heads.sum()), int(d.mlps.sum())) for d in drawn} == {(3, 1)}
    assert len({d.names() for d in drawn}) > 1
    assert drawn[2].names() == members.drawn_like(2).names()
    with pytest.raises(ValueError, match="here: no component given"):
        named_components(" , ", 3, 2, caller="here")
    with pytest.raises(ValueError, match="names block 5"):
        named_components([Component("mlp", 5)], 3, 2, caller="here")


def by_hand(
    model: DepthModel, base: list[int], source: list[int], heads: Tensor, mlps: Tensor
) -> Tensor:
    """Next-token logits of one pair with some outputs of the source run at every token."""
    points, n_layers = model.hook_points, model.n_layers
    names = {f"blocks.{layer}.attn.hook_z": ("z", layer) for layer in range(n_layers)}
    names |= {f"blocks.{layer}.hook_mlp_out": ("mlp", layer) for layer in range(n_layers)}
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], None]:
        return lambda x: kept.__setitem__(name, x.clone())

    def put(name: str) -> Callable[[Tensor], Tensor]:
        kind, layer = names[name]

        def function(x: Tensor) -> Tensor:
            if kind == "mlp":
                return kept[name] if mlps[layer] else x
            x = x.clone()
            x[:, :, heads[layer]] = kept[name][:, :, heads[layer]]
            return x

        return function

    with torch.no_grad():
        with hooked(points, [(name, keep(name)) for name in names]):
            model.model(torch.tensor([source]), return_type="logits")
        with hooked(points, [(name, put(name)) for name in names]):
            return model.model(torch.tensor([base]), return_type="logits")[0, -1].float()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_a_set_of_components_equals_hooks_by_hand(
    load_tiny: Load, backend: Backend, architecture: str
) -> None:
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=4, template="all", seed=1)
    aligned = (task.clean_tokens.lengths == task.corrupted_tokens.lengths).numpy()  # type: ignore[union-attr]
    task = task.select(aligned)
    assert len(task) > 1
    found = patch_components(
        model, task, "L0H1,L2H3,MLP1,ATTN1", positions="all", n_random=1, engine="replay"
    )
    circuit = ComponentSet.of(named_components("L0H1,L2H3,MLP1,ATTN1", 3, 4, caller=""), 3, 4)
    target, foil = task.target_ids, task.foil_ids
    for i in range(len(task)):
        base, source = task.corrupted_tokens.row(i), task.clean_tokens.row(i)  # type: ignore[union-attr]
        for j, members in enumerate([circuit, circuit.complement, circuit.everything]):
            logits = by_hand(model, base, source, members.heads, members.mlps)
            expected = logits[target[i]] - logits[foil[i]]  # type: ignore[index]
            torch.testing.assert_close(found.values[j, i], expected, rtol=1e-4, atol=1e-4)
            assert found.success[j, i] == float(logits.argmax() == target[i])  # type: ignore[index]
        back = by_hand(model, source, base, circuit.heads, circuit.mlps)
        expected = back[target[i]] - back[foil[i]]  # type: ignore[index]
        torch.testing.assert_close(found.removed.of()[0, i], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("architecture", "backend"), EVERYWHERE)
def test_replay_equals_plain_hooks(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    task = load_task("months", model, n=5, template="all")  # ragged: two named positions
    found, slow = (
        patch_components(
            model,
            task,
            "L0H1,L2H3,MLP1",
            positions=["input", "prediction"],
            n_random=2,
            engine=engine,
        )
        for engine in ("auto", "hooks")
    )
    torch.testing.assert_close(found.values, slow.values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.random_values, slow.random_values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.removed.of(), slow.removed.of(), rtol=1e-4, atol=1e-4)
    assert found.values.std() > 1e-3


def test_everything_at_the_prediction_position_is_the_source_run(
    trained: DepthModel, months: Task
) -> None:
    for mode in ("denoise", "noise"):
        found = patch_components(
            trained, months, "MLP2", positions=["prediction"], mode=mode, n_random=0
        )
        torch.testing.assert_close(found.values[2], found.source_values, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found.values[0], found.source_values, atol=0.1)
        assert np.isnan(found.random_p)


def test_one_head_is_what_the_sweep_over_heads_says(trained: DepthModel, months: Task) -> None:
    sweep = patch_sweep(
        trained, months, stream="z", heads=[0, 1], depths=[1], positions=["prediction"], controls=()
    )
    for head in (0, 1):
        found = patch_components(
            trained, months, f"L1H{head}", positions=["prediction"], n_random=0
        )
        expected = sweep.of("logit_diff")[:, 0, 0, head]
        torch.testing.assert_close(found.values[0], expected, rtol=1e-4, atol=1e-4)


def test_noising_mirrors_denoising(trained: DepthModel, months: Task) -> None:
    denoised = patch_components(trained, months, "L1H0", n_random=0)
    noised = patch_components(trained, months, "L1H0", n_random=0, mode="noise")
    torch.testing.assert_close(denoised.base_values, noised.source_values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(denoised.source_values, noised.base_values, rtol=1e-4, atol=1e-4)


def test_the_whole_model_is_a_circuit_without_complement(trained: DepthModel, months: Task) -> None:
    every = [f"{kind}{layer}" for kind in ("ATTN", "MLP") for layer in range(trained.n_layers)]
    found = patch_components(trained, months, every, n_random=1)
    torch.testing.assert_close(found.values[0], found.values[2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.values[1], found.base_values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.random_values[0], found.values[2], rtol=1e-4, atol=1e-4)
    assert found.random_p == 1.0


def test_a_pair_gives_the_same_numbers_alone(
    trained: DepthModel, months: Task, result: CircuitResult
) -> None:
    assert months.clean_tokens.lengths.unique().numel() > 1
    for i in (0, 3):
        alone = patch_components(
            trained, months.select([i]), ["L1H0", "MLP1"], positions="all", n_random=3
        )
        torch.testing.assert_close(alone.values[:, 0], result.values[:, i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            alone.random_values[:, 0], result.random_values[:, i], rtol=1e-4, atol=1e-4
        )


def test_fewer_tokens_repeat_one_of_their_own() -> None:
    spans = [
        Span(
            name="a", base=torch.tensor([[-1], [2], [-1]]), source=torch.tensor([[-1], [3], [-1]])
        ),
        Span(name="b", base=torch.tensor([[4], [5], [-1]]), source=torch.tensor([[6], [7], [-1]])),
    ]
    both = together(spans)
    assert both.base.tolist() == [[4, 4], [2, 5], [-1, -1]]
    assert both.source.tolist() == [[6, 6], [3, 7], [-1, -1]]
    assert both.present.tolist() == [True, True, False]


def test_a_pair_without_the_position_is_nan(trained: DepthModel, months: Task) -> None:
    none = torch.full((len(months), 1), -1)
    at = none.clone()
    at[:4] = 2
    found = patch_components(trained, months, "ATTN0", positions={"second": (at, at)}, n_random=1)
    assert found.values[:, :4].isfinite().all()
    assert found.values[:, 4:].isnan().all()
    assert found.random_values[:, 4:].isnan().all()
    means = found.mean_frame()
    # Of four pairs there are means and no intervals.
    ends = [name for name in means if str(name).endswith(("_low", "_high"))]
    assert means.drop(columns=ends).isna().sum().sum() == 0
    assert means.loc[2:, ends].isna().all(axis=None)


def test_a_circuit_result_as_a_table_a_figure_and_a_file(
    result: CircuitResult, months: Task, tmp_path: Path
) -> None:
    frame = result.to_frame()
    assert len(frame) == len(months) * (2 + (3 + 1 + 3) + (1 + 1 + 3))
    row = frame[(frame.patched == "complement") & (frame.pair == 4)].iloc[0]
    assert row.logit_diff == pytest.approx(float(result.values[1, 4]))
    draw = frame[(frame.draw == 2) & (frame.pair == 4)].iloc[0]
    assert draw.logit_diff == pytest.approx(float(result.random_values[2, 4]))
    means = result.mean_frame().set_index("patched")
    assert list(means.index) == [
        *("base", "source", "circuit", "complement", "everything", "shared", "random"),
        *("circuit removed", "shared removed", "random removed"),
    ]
    back = frame[(frame.patched == "circuit removed") & (frame.pair == 4)].iloc[0]
    assert back.logit_diff == pytest.approx(float(result.removed.of()[0, 4]))
    assert back.base_logit_diff == pytest.approx(float(result.base_values[4]))
    assert back.transferred == pytest.approx(1 - float(result.lost[4]), abs=1e-6)
    assert back.effect == pytest.approx(float(back.logit_diff - result.source_values[4]), abs=1e-5)
    assert means.loc["circuit", "transferred"] == pytest.approx(
        float(result.transferred[0].mean()), abs=1e-6
    )
    assert means.loc["random", "logit_diff"] == pytest.approx(
        float(result.random_values.mean()), abs=1e-5
    )
    assert means.loc["base", "transferred"] == 0
    assert means.loc["source", "transferred"] == 1
    for column in ("logit_diff", "transferred", "brought", "success"):
        assert (means[f"{column}_low"] <= means[column]).all()
        assert (means[column] <= means[f"{column}_high"]).all()
    assert (means.logit_diff_high - means.logit_diff_low).min() > 0
    assert result.self_patch_error < 1e-4

    figure: Any = result.plot()
    assert "the circuit (2 of" in figure.data[0].y[0]
    assert figure.data[0].x[0] == pytest.approx(means.loc["circuit", "brought"])
    assert figure.data[1].x[0] == pytest.approx(means.loc["circuit", "transferred"])
    assert figure.data[2].x[0] == pytest.approx(means.loc["circuit", "success"])
    for bar, part in zip(figure.data[3:], result.fractions[1:], strict=True):
        assert bar.x[0] == pytest.approx(means.loc["circuit", part])
    result.save(tmp_path / "c.safetensors")
    again = CircuitResult.load(tmp_path / "c.safetensors")
    assert again.random_components == result.random_components
    assert again.components == ("L1H0", "MLP1")
    torch.testing.assert_close(again.values, result.values, rtol=0, atol=0)


def test_random_sets_come_from_the_seed(trained: DepthModel, months: Task) -> None:
    drawn = [
        patch_components(trained, months, "L1H0", n_random=2, seed=seed).random_components
        for seed in (100, 100, 200)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_bad_input_is_refused_before_any_pass(
    trained: DepthModel, months: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Passes, "capture", None)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"components": "L9H0"}, "names block 9"),
        ({"components": []}, "patch_components: no component given"),
        ({"n_random": -1}, "n_random is a number of sets, 0 or more, got -1"),
        ({"positions": ["middle"]}, "positions are named input or prediction"),
    ]
    for options, said in cases:
        with pytest.raises(ValueError, match=said):
            patch_components(trained, months, **{"components": "MLP0", **options})
    monkeypatch.undo()
    (tmp_path / "plain.csv").write_text("prompt\nTwo months from January is\n")
    plain = load_task(tmp_path / "plain.csv", trained)
    with pytest.raises(ValueError, match="interventions need pairs"):
        patch_components(trained, plain, "MLP0")
    assert attribute_logits(trained, plain).foils is None


# The command line.

TINY = ("--model", "tiny", "--n", "8")


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    given = main(arguments)
    said = capsys.readouterr()
    assert given == code, said.err
    return said.err if code else said.out


def test_the_command_attribute(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = json.loads(run(capsys, "attribute", *TINY, "--json"))
    assert list(found) == ["provenance", "summary", "rows"]
    summary = found["summary"]
    total = sum(part["value"] for part in summary["components"])
    assert total == pytest.approx(summary["logit_diff"]["mean"], rel=1e-4)
    assert summary["against"] == "foil"
    assert summary["pairs"]["used"] == len(summary["targets"])
    assert len(found["rows"]) == len(summary["components"]) * len(summary["targets"])

    out = tmp_path / "a.html"
    prompt = ("attribute", "Two months from January is", "--model", "tiny")
    printed = run(capsys, *prompt, "--answer", "March", "--foil", "May", "--out", str(out))
    assert "logit(March) − logit(May) is" in printed
    assert "MLP" in printed
    assert "Direct logit attribution" in out.read_text(encoding="utf-8")
    assert "go with a PROMPT" in run(capsys, "attribute", "--answer", "March", code=2)
    assert "one of them" in run(capsys, *prompt, "--task", "ioi", code=2)


def test_the_command_circuit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "c.safetensors"
    named = ("circuit", *TINY, "--components", "L1H0,MLP1")
    found = json.loads(run(capsys, *named, "--random", "2", "--json", "--out", str(saved)))
    result = CircuitResult.load(saved)
    runs = found["summary"]["runs"]
    assert list(runs) == [
        *("base", "source", "circuit", "complement", "everything", "random"),
        *("circuit removed", "random removed"),
    ]
    assert result.positions == ("prediction",)
    assert found["summary"]["needed"]["share"] == pytest.approx(result.needed.share.value)
    assert runs["circuit"]["transferred"]["mean"] == pytest.approx(
        float(result.transferred[0].mean()), abs=1e-6
    )
    assert len(found["rows"]) == len(result.to_frame())
    printed = run(capsys, *named, "--position", "prediction", "--random", "0")
    assert "the circuit (2 of" in printed
    assert "No random sets were drawn" in printed
    assert "names no component" in run(capsys, *named[:-1], "X", code=2)
    assert "--components is empty" in run(capsys, *named[:-1], ",", code=2)
    assert "--position must be" in run(capsys, *named, "--position", "end", code=2)
    assert "--components" in run(capsys, "circuit", *TINY, code=2)
