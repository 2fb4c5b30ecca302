"""Steering vectors that travel: saved, applied elsewhere, exchanged with other packages."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from conftest import Load
from torch import Tensor
from transformers import AutoModelForCausalLM

import lensdepth
from lensdepth import (
    DepthModel,
    SteeringVector,
    apply_vector,
    centroid_vector,
    difference_vector,
    from_layer_activations,
    generation_profile,
    load_model,
    load_repeng_vector,
    polar,
    steering_sweep,
    steering_vector,
)
from lensdepth.cli import main
from lensdepth.tasks import Task, load_task

PROMPTS = list(architectures.PROMPTS)
CASES: dict[str, dict[str, Any]] = {
    "add": {"depths": [0, 2, 3]},
    "weak": {"depths": [1], "strength": -0.3, "positions": (1, 4)},
    "rotate": {"depths": [0, 1], "edit": "rotate", "strength": 30.0, "stream": "mlp_out"},
    "reflect": {"depths": [1], "edit": "reflect", "strength": 0.5, "stream": "z", "head": 2},
    "seen": {"depths": [2], "edit": "direction", "coordinates": "final_norm"},
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def made(model: DepthModel, name: str) -> SteeringVector:
    case = CASES[name]
    width = model.d_model // model.info.n_heads if "head" in case else model.d_model
    return steering_vector(model, noise(len(case["depths"]), width), **case)


def steered_logits(model: DepthModel, vector: SteeringVector, **options: Any) -> Tensor:
    with apply_vector(model, vector, **options) as steered:
        return steered.logits(PROMPTS, "all")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_saved_and_loaded_it_acts_bit_by_bit_as_before(
    load_tiny: Load, architecture: str, backend: str, name: str, tmp_path: Path
) -> None:
    model = load_tiny(architecture, backend)
    vector, path = made(model, name), tmp_path / "v.safetensors"
    found = steered_logits(model, vector)
    assert not torch.equal(found, model.logits(PROMPTS, "all"))
    vector.save(path)
    for load in (SteeringVector.load, lensdepth.load):
        again = load(path)
        assert torch.equal(steered_logits(model, again), found)
        for field in ("edit", "strength", "stream", "depths", "head", "positions", "hooks"):
            assert getattr(again, field) == getattr(vector, field)
    case = CASES[name]
    if name in ("add", "weak"):  # by DepthModel.steer itself
        with model.steer(
            polar.add(case.get("strength", 1.0)),
            depths=case["depths"],
            positions=case.get("positions", "all"),
            source=vector.vector,
        ):
            assert torch.equal(model.logits(PROMPTS, "all"), found)


def test_a_vector_of_zeros_changes_nothing(tiny_llama: DepthModel) -> None:
    for edit in ("add", "reflect", "rotate"):
        zeros = steering_vector(tiny_llama, torch.zeros(32), depths=[1, 3], edit=edit)
        assert torch.equal(steered_logits(tiny_llama, zeros), tiny_llama.logits(PROMPTS, "all"))
    vector = made(tiny_llama, "add")
    off = steered_logits(tiny_llama, vector, strength=0.0)
    assert torch.equal(off, tiny_llama.logits(PROMPTS, "all"))


def test_it_says_where_it_belongs(tiny_llama: DepthModel) -> None:
    vector = steering_vector(tiny_llama, noise(32), depths=[0, 2])
    assert vector.hooks == ("blocks.0.hook_resid_pre", "blocks.1.hook_resid_post")
    assert vector.relative_depths == (0.0, 2 / 3)
    own = vector.provenance.model
    assert (own.fingerprint, own.d_model, own.n_layers) == (tiny_llama.info.fingerprint, 32, 3)
    assert made(tiny_llama, "rotate").relative_depths == (1 / 3, 2 / 3)
    with pytest.raises(ValueError, match="hooks or relative_depths are not those of depths"):
        replace(vector, depths=(0, 1))
    with pytest.raises(ValueError, match=r"vectors of d_model 32, got 16"):
        replace(vector, vector=noise(2, 16))


def test_a_difference_is_that_of_the_means_of_states(tiny_llama: DepthModel) -> None:
    base, source = PROMPTS[:3], PROMPTS[1:]
    found = difference_vector(tiny_llama, base, source, depths=[3, 1], token=-1)
    means = [tiny_llama.residual_stream(one).resid[[3, 1], :, 0].mean(1) for one in (base, source)]
    torch.testing.assert_close(found.vector, means[1] - means[0])
    assert found.provenance.prompts == tuple(source)
    head = difference_vector(tiny_llama, base, source, depths=1, token=1, stream="z", head=3)
    states = [tiny_llama.read(one, ["z1"], [1] * 3)["z1"][:, 0, 24:] for one in (base, source)]
    torch.testing.assert_close(head.vector[0], states[1].mean(0) - states[0].mean(0))


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=40, keep="correct")


@pytest.mark.parametrize("budget", [None, 0.5])
def test_centroids_of_a_sweep_are_means_by_label(
    trained: DepthModel, months: Task, budget: float | None
) -> None:
    profile = steering_sweep(
        trained, months, scopes=("local",), control_pairs=1, strength=2.0, budget=budget
    )
    found = centroid_vector(
        profile, trained, months, base="May", source="June", depths=[1, 3], position="prediction"
    )
    # The answers are the labels there; each distinct prompt counts once.
    answers = dict(zip(months.clean, months.target or (), strict=True))
    answers |= dict(zip(months.corrupted or (), months.foil or (), strict=True))
    ends = []
    for label in ("May", "June"):
        prompts = [text for text, answer in answers.items() if answer.strip() == label]
        ends.append(trained.residual_stream(prompts).resid[[1, 3], :, 0].mean(1))
    expected = ends[1] - ends[0]
    if budget is not None:
        norms = profile.state_norm[[1, 3], 1]
        expected = budget * norms[:, None] * polar.direction(expected)
    torch.testing.assert_close(found.vector, expected, atol=1e-5, rtol=1e-5)
    assert found.strength == 2.0
    with pytest.raises(ValueError, match="the sweep is of other prompts"):
        centroid_vector(profile, trained, months.select(slice(20)), base="May", source="June")
    with pytest.raises(ValueError, match=r"two of the labels .*, got 'May' and 'Mai'"):
        centroid_vector(profile, trained, months, base="May", source="Mai")


# ---------------------------------------------------------------- other models


def test_another_model_takes_it_on_request_alone(
    model_folder: Callable[[str], Path], load_tiny: Load, tmp_path: Path
) -> None:
    """One of the same architecture: what was trained on from the same weights is such a model."""
    here = load_tiny("llama", "bridge")
    there = load_model(architectures.build("llama", tmp_path / "tuned", seed=1), backend="bridge")
    vector = steering_vector(here, noise(32), depths=[1])
    both = f"'{here.info.fingerprint}', and 'tuned' has '{there.info.fingerprint}'"
    for call in (
        lambda: steered_logits(there, vector),
        lambda: vector.moved_to(there),
        lambda: generation_profile(there, PROMPTS[0], n_tokens=1, vector=vector),
    ):
        with pytest.raises(ValueError, match=re.escape(both)) as refused:
            call()
        assert "\n" not in str(refused.value)
    moved = vector.moved_to(there, allow_other_model=True, depth_map={1: 2})
    assert moved.depths == (2,)
    assert moved.provenance.model.fingerprint == there.info.fingerprint
    assert moved.provenance.settings["moved_from"]["depths"] == [1]
    with there.steer(polar.add(), depths=2, source=vector.vector[0]):
        expected = there.logits(PROMPTS, "all")
    assert torch.equal(steered_logits(there, moved), expected)
    options = {"allow_other_model": True, "depth_map": {1: 2}}
    assert torch.equal(steered_logits(there, vector, **options), expected)


def test_backends_of_the_same_weights_are_one_model(load_tiny: Load, backend: str) -> None:
    vector = made(load_tiny("llama", "bridge"), "add")
    found = steered_logits(load_tiny("llama", backend), vector)
    other = steered_logits(load_tiny("llama", "bridge"), vector)
    torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"d_model": 64}, {}, "d_model 64, and 'llama' has 32; a vector goes to no model"),
        ({"d_model": 64}, {"allow_other_model": True}, "d_model 64, and 'llama' has 32"),
        ({"weights": "processed"}, {"allow_other_model": True}, "weights 'processed', and"),
        ({"n_layers": 6}, {}, "n_layers 6, and 'llama' has 3; allow_other_model=True takes"),
        (
            {"n_layers": 6},
            {"allow_other_model": True},
            "say by depth_map={depth here:",
        ),
        ({"configuration": "0" * 16}, {}, "with configuration '0000000000000000', and 'llama'"),
        ({}, {"depth_map": {0: 1}}, "name each of the vector's depths 1 once, got [0]"),
        ({}, {"depth_map": {1: 4}}, "within 0...3 of 'llama', got [4]"),
        ({}, {"strength": 1e9}, "strength must be a number between"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    tiny_llama: DepthModel, change: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    vector = steering_vector(tiny_llama, noise(32), depths=1)
    own = replace(vector.provenance, model=replace(vector.provenance.model, **change))
    other = replace(
        vector,
        provenance=own,
        vector=noise(1, own.model.d_model),
        relative_depths=(1 / own.model.n_layers,),
    )
    with pytest.raises(ValueError, match=re.escape(said)) as refused, ExitStack() as stack:
        stack.enter_context(apply_vector(tiny_llama, other, **options))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depths": 4}, "depths within 0...3"),
        ({"depths": 3, "stream": "mlp_out"}, "blocks within 0...2"),
        ({"depths": 1, "head": 1}, "names head 1; there are no heads"),
        ({"depths": 1, "edit": "scale"}, "edit must be one of add, full"),
        ({"depths": 1, "edit": "rotate", "strength": 200.0}, "from 0 to 180"),
        ({"depths": 1, "positions": (-1,)}, "positions from the start of a text"),
        ({"depths": 1, "stream": "z", "head": 0}, "vector must have shape [8]"),
        ({"depths": 1, "stream": "attn_out", "coordinates": "final_norm"}, "residual stream alone"),
    ],
)
def test_arguments_that_make_no_vector(
    tiny_llama: DepthModel, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        steering_vector(tiny_llama, noise(32), **change)


def test_a_stream_that_the_other_model_lacks_is_refused(load_tiny: Load, backend: str) -> None:
    """Blocks that run attention and MLP side by side have no state between them."""
    vector = steering_vector(load_tiny("llama", backend), noise(32), depths=1, stream="resid_mid")
    with pytest.raises(ValueError, match=r"no hook 'blocks\.1\.hook_resid_mid'"):
        vector.moved_to(load_tiny("gpt_neox", backend), allow_other_model=True)


def test_a_damaged_file_is_refused(tiny_llama: DepthModel, tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    made(tiny_llama, "add").save(path)
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1  # in the last vector
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="is damaged: it is not what was saved"):
        lensdepth.load(path)


# ---------------------------------------------------------------- other packages


def plain_logits(folder: Path, by_block: dict[int, Tensor], ids: list[int]) -> Tensor:
    """Transformers alone, with the vectors added to the outputs of blocks by plain hooks."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    blocks = model.transformer.h if hasattr(model, "transformer") else model.model.layers

    def adding(vector: Tensor) -> Callable[..., Any]:
        def hook(_: Any, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (output[0] + vector, *output[1:])
            return output + vector

        return hook

    for block, vector in by_block.items():
        blocks[block].register_forward_hook(adding(vector))
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_what_repeng_reads_acts_on_block_b_as_ours_at_depth_b_plus_1(
    model_folder: Callable[[str], Path],
    load_tiny: Load,
    architecture: str,
    backend: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gguf = pytest.importorskip("gguf")
    model, path = load_tiny(architecture, backend), tmp_path / "v.gguf"
    ids = model.tokenize(PROMPTS[0]).row(0)
    for depths in ([1], [2], [3], [1, 3]):
        vector = steering_vector(model, noise(len(depths), 32), depths=depths, strength=0.7)
        vector.to_repeng(path)
        # As repeng's import_gguf goes about it.
        reader = gguf.GGUFReader(path)
        said = {
            name: reader.get_field(name).contents()
            for name in (
                "general.architecture",
                "controlvector.model_hint",
                "controlvector.layer_count",
            )
        }
        assert [*said.values()] == ["controlvector", architecture, len(depths)]
        by_block = {
            int(tensor.name.removeprefix("direction.")): torch.tensor(tensor.data)
            for tensor in reader.tensors
        }
        assert sorted(by_block) == [depth - 1 for depth in depths]
        with apply_vector(model, vector):
            ours = model.logits([ids], "all")[0]
        plain = plain_logits(model_folder(architecture), by_block, ids)
        largest = float(plain.abs().max())
        torch.testing.assert_close(ours, plain, atol=1e-5 * max(largest, 1.0), rtol=0)
        again = load_repeng_vector(path, model)
        assert again.depths == vector.depths
        assert torch.equal(again.vector, 0.7 * vector.vector)
        assert "nothing in it tells whether" in caplog.text
        taken = from_layer_activations(model, vector.to_layer_activations())
        assert torch.equal(steered_logits(model, taken), steered_logits(model, again))


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"depths": 0}, "needs depths from 1 on, which blocks put out; this vector has [0]"),
        ({"depths": 1, "edit": "reflect"}, "needs edit 'add'; this vector has 'reflect'"),
        ({"depths": 1, "stream": "mlp_out"}, "needs stream 'resid_pre' or 'resid_post'"),
        ({"depths": 1, "positions": (2,)}, "needs positions 'all'; this vector has (2,)"),
        ({"depths": 1, "coordinates": "final_norm"}, "needs coordinates 'raw'"),
    ],
)
def test_what_other_packages_cannot_say_is_not_written(
    tiny_gpt2: DepthModel, case: dict[str, Any], said: str, tmp_path: Path
) -> None:
    vector = steering_vector(tiny_gpt2, noise(32), **case)
    with pytest.raises(ValueError, match=re.escape(said)):
        vector.to_layer_activations()
    with pytest.raises(ValueError, match=re.escape(said)):
        vector.to_repeng(tmp_path / "v.gguf")
    assert not [*tmp_path.iterdir()]


def test_control_vectors_that_do_not_fit_are_refused(
    tiny_llama: DepthModel, load_tiny: Load, tmp_path: Path
) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "v.gguf"

    def write(name: str, row: Tensor, architecture: str = "controlvector", hint: str = "llama"):
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_string(f"{architecture}.model_hint", hint)
        writer.add_tensor(name, row.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    faults: list[tuple[tuple[Any, ...], str]] = [
        (("direction.3", noise(32)), "of blocks within 0...2 of 'llama', one at least; got [3]"),
        (("direction.1", noise(64)), "must be 32 finite numbers"),
        (("direction.1", noise(32) / 0), "must be 32 finite numbers"),
        (("direction.-1", noise(32)), "holds 'direction.-1' of shape [32]"),
        (("direction.1", noise(32), "llama"), "holds 'llama' and no control vector"),
        (
            ("direction.1", noise(32), "controlvector", "gpt2"),
            "'gpt2', and 'llama' is 'llama'",
        ),
    ]
    for given, said in faults:
        write(*given)
        with pytest.raises(ValueError, match=re.escape(said)):
            load_repeng_vector(path, tiny_llama)
    assert load_repeng_vector(path, tiny_llama, allow_other_model=True).depths == (2,)
    whole = path.read_bytes()
    for end in (0, 3, 20, len(whole) // 2, len(whole) - 140):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"^load_repeng_vector: .*(damaged|cannot be read)"):
            load_repeng_vector(path, tiny_llama)
    with pytest.raises(ValueError, match="layer_type must be 'decoder_block'"):
        from_layer_activations(tiny_llama, {1: noise(32)}, layer_type="mlp")
    with pytest.raises(ValueError, match=r"of block 1 must be 32 finite numbers.*got \[31\]"):
        from_layer_activations(tiny_llama, {1: noise(31)})


# ---------------------------------------------------------------- texts


def test_a_text_is_written_with_it_and_without(tiny_llama: DepthModel) -> None:
    vector = steering_vector(tiny_llama, noise(32), depths=[1, 2], strength=3.0)
    found = generation_profile(tiny_llama, PROMPTS[0], n_tokens=4, vector=vector)
    assert found.runs == ("base", "edited", "edited control")
    assert PROMPTS[0] + found.texts[0] == tiny_llama.generate(PROMPTS[0], max_new_tokens=4)
    with apply_vector(tiny_llama, vector) as steered:
        assert PROMPTS[0] + found.texts[1] == steered.generate(PROMPTS[0], max_new_tokens=4)
        batch = [[*found.prompt_tokens.tolist(), *found.tokens[1].tolist()[:i]] for i in range(4)]
        plain = steered.log_probs(batch)[:, 0].gather(-1, found.tokens[1][:4, None])[:, 0]
    torch.testing.assert_close(found.log_prob[1, -1, :4], plain, atol=1e-5, rtol=1e-5)
    assert found.provenance.settings["vector"]["analysis"] == "steering_vector"
    with pytest.raises(ValueError, match="a vector brings its own edit"):
        generation_profile(tiny_llama, PROMPTS[0], vector=vector, depths=1)


def test_the_command_line_says_what_does_not_go_together(
    trained: DepthModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "v.safetensors")
    steering_vector(trained, noise(32), depths=1).save(path)
    start = ["write", "January", "--model", "tiny"]
    for options, said in (
        (["--apply", path, "--depth", "1"], "--apply brings its own edit and site"),
        (["--apply", path, "--stream", "z"], "--apply brings its own edit and site"),
        (["--apply", path, "--head", "0"], "--apply brings its own edit and site"),
        (["--strength", "0"], "go with --edit"),
        (["--dose", "0"], "go with --edit"),
        (["--apply", path, "--dose", "1", "--strength", "1"], "--strength is one and --dose"),
        (["--depth-map", "1:2"], "go with --apply"),
        (["--apply", path, "--depth-map", "1-2"], "--depth-map must be D:E"),
        (["--apply", path, "--depth-map", "1:9"], "within 0...3 of 'tiny', got [9]"),
        (["--apply", str(tmp_path / "none")], "none"),
    ):
        assert main([*start, *options]) == 2
        assert said in capsys.readouterr().err
