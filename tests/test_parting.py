"""Two runs side by side: planted changes are found, and plain hooks give the same numbers."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import architectures
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lensdepth import compare_runs
from lensdepth.analyses import analysis
from lensdepth.cli import main
from lensdepth.model import DepthModel, load_model
from lensdepth.parting.noise import STEPS, distance, floor_above
from lensdepth.parting.reading import Run, read_run
from lensdepth.provenance import Backend
from lensdepth.sweep.floor import MARGIN
from lensdepth.tasks import load_task

PROMPTS = ["Two months from January is", "January", "Monday is", "May", "June is"]
WEIGHTS = {
    "llama": {
        "mlp": "model.layers.1.mlp.down_proj.weight",
        "attention": "model.layers.1.self_attn.o_proj.weight",
        "embedding": "model.embed_tokens.weight",
        "readout": "lm_head.weight",
    },
    "gpt2": {
        "mlp": "transformer.h.1.mlp.c_fc.weight",
        "attention": "transformer.h.1.attn.c_attn.weight",
    },
}
"""One matrix of each component, of block 1 where it has one."""
PLANTED = [(a, part) for a, parts in WEIGHTS.items() for part in parts]
Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def changed(model_folder: Folders, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """`llama mlp`: a copy of a tiny model with that one matrix changed; `llama`: other weights."""

    def build(which: str) -> Path:
        architecture, _, part = which.partition(" ")
        folder = tmp_path_factory.mktemp("changed")
        architectures.build(architecture, folder, seed=0 if part else 1)
        if part:
            model = AutoModelForCausalLM.from_pretrained(model_folder(architecture))
            with torch.no_grad():
                weight = model.get_parameter(WEIGHTS[architecture][part])
                weight.add_(0.2 * torch.randn_like(weight))
            model.save_pretrained(folder)
        return folder

    return build


def both(one: Path, other: Path, backend: Backend) -> tuple[DepthModel, DepthModel]:
    return load_model(one, backend=backend), load_model(other, backend=backend)


@pytest.mark.parametrize(("architecture", "part"), PLANTED)
def test_one_changed_matrix_is_found_and_giving_it_back_restores_the_prediction(
    model_folder: Folders, changed: Folders, backend: Backend, architecture: str, part: str
) -> None:
    torch.manual_seed(0)
    a, b = both(model_folder(architecture), changed(f"{architecture} {part}"), backend)
    found = compare_runs(a, b, PROMPTS)
    depth = {"embedding": 0, "readout": 3}.get(part, 2)
    layer = 1 if part in ("mlp", "attention") else None
    assert found.first is not None
    assert found.first[:2] == (part, layer)
    assert len(found.parted) == 1
    assert found.first.distance > 0.01
    assert found.kl.min() > found.kl_floor
    others = [d for d in range(4) if d != depth or part == "readout"]
    assert found.own_distance[:, others].max() <= found.floor
    writes, states = found.write_kl, found.state_kl
    floor = found.kl_floor
    if part == "readout":
        # Nothing that is swapped is of the readout: each run stays with its own.
        assert found.first_depth is None
        assert torch.stack([states[:, 0, 0], states[:, 1, 1]]).max() <= floor
        assert found.decides("a") is found.taken_from("a") is None
        return
    assert found.first_depth == depth
    for run, goal in ((0, 1), (1, 0)):
        assert writes[:, run, goal, depth].max() <= floor
        # Later writes follow from what was changed; those before are equal.
        assert (writes[:, run, run, :depth] <= floor).all()
        assert states[:, run, goal, depth:].max() <= floor
        assert (states[:, run, run, :depth] <= floor).all()
    assert found.decides("a") == found.decides("b") == depth
    assert found.taken_from("a") == found.taken_from("b") == depth
    assert found.carried_distance[:, : depth + 1].max() <= found.floor
    said = " ".join(analysis("compare").sentences(found))
    assert {"mlp": "the MLP of block 1 (into depth 2) is the first", "embedding": "the embedding is"
            }.get(part, "the attention of block 1 (into depth 2) is the first") in said  # fmt: skip


def test_a_model_against_itself_parts_nowhere(
    tiny_llama: DepthModel, tiny_gpt2: DepthModel
) -> None:
    for model in (tiny_llama, tiny_gpt2):
        found = compare_runs(model, model, PROMPTS)
        assert found.first is found.first_depth is found.decides() is found.taken_from() is None
        for before in ("", "own_", "carried_"):
            for name in ("angle", "norm", "distance"):
                assert not getattr(found, before + name).any()
        for name in ("attention", "mlp", "readout", "kl"):
            assert not getattr(found, name).any()
        assert found.write_kl.max() <= found.kl_floor
        assert found.state_kl.max() <= found.kl_floor
        said = " ".join(analysis("compare").sentences(found))
        assert "no component writes anything else beyond noise" in said
        assert "States are equal at every depth" in said


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_precisions_and_backends_part_by_no_component(
    model_folder: Folders, load_tiny: Callable[[str, str], DepthModel], backend: Backend,
    architecture: str,
) -> None:  # fmt: skip
    """Gradually: states are apart, but no more than each block's tolerance adds up to."""
    model = load_tiny(architecture, backend)
    half = load_model(model_folder(architecture), backend=backend, dtype="bfloat16")
    found = compare_runs(model, half, PROMPTS)
    assert found.first is found.first_depth is None
    assert found.tolerance == STEPS * torch.finfo(torch.bfloat16).eps
    assert found.distance[:, -1].max() > 100 * torch.finfo(torch.float32).eps
    if backend == "hooked":
        other = load_tiny(architecture, "bridge")
        assert compare_runs(model, other, PROMPTS[:2]).first is None
    # A tolerance that is too small finds the rounding, as it must.
    first = compare_runs(model, half, PROMPTS[:1], tolerance=0.0).first
    assert first is not None
    assert first.part == "embedding"


# ---------------------------------------------------------------- the slow path, without lensdepth


class Plain:
    """One model of transformers with plain hooks."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        inner: Any = getattr(self.model, "model", None) or self.model.transformer
        self.blocks: Any = inner.layers if hasattr(inner, "layers") else inner.h

    def run(
        self, ids: list[int], put: tuple[int, list[int], Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """States by depth and last log-probabilities; `put` replaces tokens of one depth's."""
        states: list[Tensor] = []

        def swapped(depth: int, x: Tensor) -> Tensor:
            if put is not None and put[0] == depth:
                x = x.clone()
                x[0, put[1]] = put[2][put[1]]
            states.append(x[0])
            return x

        def after(depth: int) -> Callable[..., Any]:
            def hook(module: Any, given: Any, out: Any) -> Any:
                x = swapped(depth, out if isinstance(out, Tensor) else out[0])
                return x if isinstance(out, Tensor) else (x, *out[1:])

            return hook

        with torch.no_grad(), ExitStack() as stack:
            first = self.blocks[0].register_forward_pre_hook(
                lambda module, given: (swapped(0, given[0]), *given[1:])
            )
            handles = [first]
            handles += [b.register_forward_hook(after(d + 1)) for d, b in enumerate(self.blocks)]
            for handle in handles:
                stack.callback(handle.remove)
            logits = self.model(torch.tensor([ids])).logits[0, -1]
        return torch.stack(states), logits.log_softmax(-1)


def kl(log_p: Tensor, log_q: Tensor) -> float:
    return float((log_p.exp() * (log_p - log_q)).sum())


@pytest.mark.parametrize("positions", ["all", "last"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_plain_hooks_give_the_same_numbers(
    model_folder: Folders, changed: Folders, backend: Backend, architecture: str,
    positions: Literal["all", "last"],
) -> None:  # fmt: skip
    """Two models of which everything differs, prompt by prompt, in transformers itself."""
    folders = model_folder(architecture), changed(architecture)
    models = both(*folders, backend)
    found = compare_runs(*models, PROMPTS[:3], positions=positions)
    plain = [Plain(folder) for folder in folders]
    for row, prompt in enumerate(PROMPTS[:3]):
        ids = models[0].tokenize([prompt]).row(0)
        every = list(range(len(ids)))
        at = every if positions == "all" else every[-1:]
        (a, log_a), (b, log_b) = (one.run(ids) for one in plain)
        assert float(found.kl[row, 0]) == pytest.approx(kl(log_a, log_b), rel=1e-3)
        for depth in range(4):
            own = b[0]
            if depth:
                own = plain[1].run(ids, (depth - 1, every, a[depth - 1]))[0][depth]
            for name, x, y in (("", a[depth], b[depth]), ("own_", a[depth], own)):
                x, y = x[at].double(), y[at].double()
                cosine = torch.nn.functional.cosine_similarity(x, y, dim=-1)
                ratio = (y.norm(dim=-1) / x.norm(dim=-1)).log()
                apart = (x - y).norm(dim=-1) / torch.maximum(x.norm(dim=-1), y.norm(dim=-1))
                got = [getattr(found, name + k)[row, depth] for k in ("angle", "norm", "distance")]
                wanted = [cosine.acos().mean(), ratio.mean(), apart.max()]
                assert torch.stack(got).double() == pytest.approx(torch.stack(wanted), abs=1e-4)
            for run, (mine, theirs) in enumerate(((a, b), (b, a))):
                write = theirs[0]
                if depth:
                    write = mine[depth - 1] + theirs[depth] - theirs[depth - 1]
                for field, states in ((found.write_kl, write), (found.state_kl, theirs[depth])):
                    log_p = plain[run].run(ids, (depth, at, states))[1]
                    got = field[row, run, :, depth].tolist()
                    assert got == pytest.approx([kl(log_a, log_p), kl(log_b, log_p)], abs=2e-4)


# ---------------------------------------------------------------- what is asked, told and refused


def test_other_models_are_refused_in_one_line_that_says_both(
    tiny_llama: DepthModel, tiny_gpt2: DepthModel, trained: DepthModel
) -> None:
    for a, b, said in (
        (tiny_llama, tiny_gpt2, "llama has LlamaForCausalLM, gpt2 has GPT2LMHeadModel"),
        (trained, load_model("calendar"), r"blocks \(n_layers\): tiny has 3, calendar has 10"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            compare_runs(a, b, "May")
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match="tolerance must be 0 or more"):
        compare_runs(trained, trained, "May", tolerance=float("nan"))
    with pytest.raises(ValueError, match="units"):
        compare_runs(trained, trained, ["May", "June"], units=[["one"]])


def test_units_and_too_few_of_them(trained: DepthModel) -> None:
    few = compare_runs(trained, trained, ["May is", "June is"])
    said = analysis("compare")
    assert "2 units only: no number has an interval" in " ".join(said.sentences(few))
    assert all(torch.tensor(curve.low).isnan().all() for curve in said.curves(few))
    task = load_task("months", trained, n=12)
    many = compare_runs(trained, trained, task)
    assert not any(torch.tensor(c.low).isnan().any() for c in said.curves(many))
    assert json.dumps(said.summary(many), allow_nan=False)


def test_what_is_no_number_is_never_nearest_or_equal(
    model_folder: Folders, changed: Folders
) -> None:
    torch.manual_seed(0)
    a, b = both(model_folder("llama"), changed("llama mlp"), "bridge")
    found = compare_runs(a, b, PROMPTS)
    writes = found.write_kl.clone()
    writes[0, :, :, 1] = torch.nan
    assert replace(found, write_kl=writes).decides("a") == 2
    distance = found.distance.clone()
    distance[0, 1] = torch.nan
    assert replace(found, distance=distance).first_depth == 1
    mlp = found.mlp.clone()
    mlp[0, 0] = torch.nan
    first = replace(found, mlp=mlp).first
    assert first is not None
    assert first[:2] == ("mlp", 0)


def test_the_command_compares_precisions(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = "compare --model tiny --n 6 --other-dtype bfloat16 --json"
    assert main([*words.split(), "--out", str(tmp_path / "pair.html")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["summary"]["first"] is None
    assert printed["summary"]["b"] == "tiny (bfloat16)"
    assert len(printed["rows"]) == 6 * 4
    assert main(["compare", "tiny", "--model", "calendar", "--n", "2"]) == 2
    assert "calendar has 10, tiny has 3" in capsys.readouterr().err


# ---------------------------------------------------------------- what is noise


def test_distance_and_floor_by_hand() -> None:
    x, y = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 1.0])
    assert float(distance(x, y)) == float(distance(y, x)) == pytest.approx(3 / 5)
    zero = torch.zeros(2)
    assert float(distance(zero, zero)) == 0
    assert float(distance(zero, y)) == 1
    # Writes in shares of the longer state that they lead to.
    assert float(distance(x, y, beside=(6 * y, 2 * x))) == pytest.approx(3 / 360**0.5)
    assert floor_above(0.3, 0.1) == pytest.approx(0.6)
    assert floor_above(0.3, 0.7) == 0.7


def test_the_floor_is_what_was_measured_or_stated(
    tiny_llama: DepthModel, load_tiny: Callable[[str, str], DepthModel]
) -> None:
    """Two backends are apart by some last digits: less than any floor that was found for them."""
    found = compare_runs(tiny_llama, load_tiny("llama", "bridge"), PROMPTS, tolerance=0.0)
    assert found.floor == MARGIN * found.measured
    assert 0 < found.measured < 1e-5
    assert found.noise.tolist() == pytest.approx([found.floor * d for d in (1, 2, 3, 4)])
    assert found.first is None
    whole = compare_runs(tiny_llama, tiny_llama, PROMPTS, tolerance=0.5)
    assert whole.floor == whole.tolerance == 0.5


def test_blocks_whose_writes_do_not_add_up_are_told_whole(
    model_folder: Folders, changed: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a model scales them behind the hook; of those here none does."""
    models = both(model_folder("llama"), changed("llama mlp"), "bridge")
    run = read_run(models[0], models[0].tokenize(PROMPTS[:2]), torch.tensor([[1], [1]]))
    assert run.adds_up(1e-6)
    assert not replace(run, mlp=0.999 * run.mlp).adds_up(1e-6)
    monkeypatch.setattr(Run, "adds_up", lambda run, tolerance: False)
    found = compare_runs(*models, PROMPTS)
    assert not found.told_apart
    assert [one[:2] for one in found.parted] == [("block", 1)]
    assert "block 1 (into depth 2) is the first" in " ".join(analysis("compare").sentences(found))
    assert json.dumps(analysis("compare").summary(found), allow_nan=False)


def test_attention_and_mlp_beside_each_other(
    model_folder: Folders, backend: Backend, tmp_path: Path
) -> None:
    """Parallel blocks: both read one state, and neither stands before the other."""
    architectures.build("gpt_neox", tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        model.get_parameter("gpt_neox.layers.1.mlp.dense_4h_to_h.weight").mul_(1.5)
    model.save_pretrained(tmp_path)
    found = compare_runs(*both(model_folder("gpt_neox"), tmp_path, backend), PROMPTS)
    assert [one[:2] for one in found.parted] == [("mlp", 1)]
    assert found.write_kl[:, 0, 1, 2].max() <= found.kl_floor
