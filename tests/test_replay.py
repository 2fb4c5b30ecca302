"""The engine equals plain hooks, says so where it cannot, and leaves nothing behind."""

import gc
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from conftest import BACKENDS, Load
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lensdepth import load_model, polar
from lensdepth.hooks import SiteEdit, capture
from lensdepth.model import DepthModel
from lensdepth.passes import Passes
from lensdepth.provenance import Backend
from lensdepth.reading import edited_states
from lensdepth.replay import Part, chunk, fused, replay, replay_measure
from lensdepth.replay.chunk import Chunk
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.teaching import planted
from lensdepth.tokens import Positions, TokenBatch, pad_tokens

LENGTHS = (9, 1, 12, 5)
"""Tokens of each prompt; more than the sliding windows of the tiny models, and one alone."""
N_LAYERS = architectures.N_LAYERS
STREAMS: tuple[Stream, ...] = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z")
MODELS = [(a, b) for a in architectures.CONFIGS for b in BACKENDS]
MODELS += [(a, "bridge") for a in architectures.BRIDGE_ONLY]
FEW = [(a, b) for a, b in MODELS if a in ("gemma2", "gpt_neox")]

INSIDE_MODULES: list[Stream] = ["resid_pre", "resid_mid", "resid_post", "z"]
"""What is replayed of Granite, which scales the other streams between its modules."""


def prompts(seed: int = 0) -> TokenBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, 200, (n,), generator=generator).tolist() for n in LENGTHS]
    return pad_tokens(ids, pad_id=2)


BASE, SOURCE = prompts(0), prompts(1)
FIRST, LAST = torch.zeros(len(BASE), dtype=torch.long), BASE.last


def turned(found: Tensor, source: Tensor | None) -> Tensor:
    return found.flip(-1) + 0.5


def halfway(found: Tensor, source: Tensor | None) -> Tensor:
    assert source is not None
    return 0.5 * found + 0.5 * source


def towards(found: Tensor, source: Tensor | None) -> Tensor:
    assert source is not None
    return polar.rotate_by(found, source, 0.7)


EDITS: dict[str, polar.Edit] = {
    "full": polar.full_swap,
    "direction": polar.direction_swap,
    "norm": polar.norm_swap,
    "towards": towards,
    "halfway": halfway,
    "scale": lambda found, _: 1.7 * found,
    "turned": turned,
}
WITHOUT_SOURCE = ("scale", "turned")


def site(
    hook: str,
    positions: Tensor = LAST,
    edit: polar.Edit = turned,
    source: Tensor | None = None,
    head: int | None = None,
) -> SiteEdit:
    return SiteEdit(hook=hook, positions=positions, edit=edit, source=source, head=head)


def streams_of(architecture: str) -> list[Stream]:
    parallel = architecture in architectures.PARALLEL
    return [s for s in STREAMS if not (parallel and s == "resid_mid")]


def one_of_each(
    architecture: str, positions: Tensor = LAST, layer: int = 1
) -> list[list[SiteEdit]]:
    return [[site(site_hook(s, layer), positions)] for s in streams_of(architecture)]


def gathered(parts: Iterator[Part], n_sets: int, n_prompts: int) -> Tensor:
    """States `[set, prompt, depth, pos, d_model]`; NaN where nothing ran."""
    out = None
    for part in parts:
        if out is None:
            shape = (n_sets, n_prompts, *part.resid.shape[1:])
            out = torch.full(shape, torch.nan, dtype=part.resid.dtype)
        assert out[part.sets, part.prompts].isnan().all()  # every run comes once
        out[part.sets, part.prompts] = part.resid
    assert out is not None
    return out


def states(
    model: DepthModel,
    sets: Sequence[Sequence[SiteEdit]],
    batch: TokenBatch = BASE,
    **options: Any,
) -> Tensor:
    parts = replay(model, batch, sets, **{"engine": "replay", **options})
    return gathered(parts, len(sets), len(batch))


def logits(
    model: DepthModel,
    sets: Sequence[Sequence[SiteEdit]],
    batch: TokenBatch = BASE,
    **options: Any,
) -> Tensor:
    """Logits `[set, prompt, pos, d_vocab]` of the engine."""
    return model.readout(states(model, sets, batch, **options)[:, :, -1])


def by_hooks(
    model: DepthModel, sets: Sequence[Sequence[SiteEdit]], positions: Positions = "last"
) -> Tensor:
    return torch.stack(list(model.run_edits(BASE, sets, positions=positions)))


def differ(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest number, or of 1 if that is more."""
    assert found.shape == expected.shape
    assert expected.isfinite().all()
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    assert differ(found, expected) <= tolerance


def assert_modes_of_old() -> None:
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def anew(model: DepthModel) -> DepthModel:
    """The same model in a wrapper that has not warned of anything yet."""
    return DepthModel(model.model, tokenizer=model.tokenizer)


# Random sets of edits, drawn without a model.


@dataclass(frozen=True)
class Drawn:
    """An edit that any of the tiny models can take."""

    stream: Stream
    layer: int
    head: int | None
    edit: str
    positions: tuple[int, ...]
    seed: int

    def on(self, model: DepthModel) -> SiteEdit:
        source = None
        if self.edit not in WITHOUT_SOURCE:
            cfg = model.model.cfg
            at_z = cfg.d_head * (cfg.n_heads if self.head is None else 1)
            width = at_z if self.stream == "z" else model.d_model
            generator = torch.Generator().manual_seed(self.seed)
            source = torch.randn(len(BASE), width, generator=generator)
        hook, at = site_hook(self.stream, self.layer), torch.tensor(self.positions)
        return site(hook, at, EDITS[self.edit], source, self.head)


def positions_drawn() -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*(st.integers(-n, n - 1) for n in LENGTHS))


@st.composite
def edits_drawn(draw: st.DrawFn, streams: Sequence[Stream]) -> Drawn:
    stream = draw(st.sampled_from(streams))
    heads = st.none() | st.integers(0, architectures.N_HEADS - 1)
    return Drawn(
        stream=stream,
        layer=draw(st.integers(0, N_LAYERS - 1)),
        head=draw(heads) if stream == "z" else None,
        edit=draw(st.sampled_from(sorted(EDITS))),
        positions=draw(positions_drawn()),
        seed=draw(st.integers(0, 9)),
    )


@pytest.mark.parametrize(("architecture", "backend"), MODELS)
def test_any_edits_do_what_they_do_by_hooks(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    whole = architecture not in architectures.BRIDGE_ONLY
    streams = streams_of(architecture) if whole else INSIDE_MODULES
    # Half of them at few sites, so that several edits meet at one.
    one, near = edits_drawn(streams), edits_drawn([streams[0], streams[-1]])
    many = st.lists(st.lists(one | near, min_size=1, max_size=5), min_size=5, max_size=7)

    # What differs is named; making it smaller would take minutes.
    @settings(max_examples=2, phases=(Phase.reuse, Phase.generate))
    @given(sets=many)
    def check(sets: list[list[Drawn]]) -> None:
        edits = [[drawn.on(model) for drawn in drawn_set] for drawn_set in sets]
        found, expected = logits(model, edits, check=False), by_hooks(model, edits)
        for drawn_set, a, b in zip(sets, found, expected, strict=True):
            assert differ(a, b) <= 1e-4, drawn_set

    check()


@pytest.mark.parametrize(("architecture", "backend"), MODELS)
def test_every_stream(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    sets = one_of_each(architecture) + one_of_each(architecture, FIRST)
    way = "auto" if architecture in architectures.BRIDGE_ONLY else "replay"
    found, expected = logits(model, sets, engine=way), by_hooks(model, sets)
    assert_same(found, expected)
    effects = (found - model.logits(BASE)).abs().amax((2, 3))
    assert (effects[: len(sets) // 2] > 1e-3).all()  # edits of what is read change it


# Identities.


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_what_changes_nothing_has_no_effect(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    base = logits(model, [()])[0]
    assert_same(base, model.logits(BASE), 1e-5)
    selves = [
        [site(site_hook(s, i), at, polar.self_swap)]
        for s in streams_of(architecture)
        for i in range(N_LAYERS)
        for at in (FIRST, LAST)
    ]
    own = model.residual_stream(BASE).resid[:, :, 0]
    selves += [
        [site(depth_hook(d, N_LAYERS), LAST, polar.full_swap, own[d])] for d in range(N_LAYERS + 1)
    ]
    selves += [[edit for edits in selves[:-4] for edit in edits]]
    assert (logits(model, selves) - base).abs().max() < 1e-5 * base.abs().max()
    # What comes after the read position cannot matter, and is not computed.
    after = logits(model, one_of_each(architecture), positions=FIRST)
    others = BASE.lengths > 1
    assert torch.equal(
        after[:, others], logits(model, [()], positions=FIRST).expand_as(after)[:, others]
    )


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_the_source_run_put_in_comes_out(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    source = model.residual_stream(SOURCE, "all").resid
    everywhere = []
    for position in range(max(LENGTHS)):
        at = torch.full_like(LAST, position).minimum(LAST)
        everywhere.append((at, source[:, torch.arange(len(BASE)), at]))
    sets = [
        [site(depth_hook(d, N_LAYERS), at, polar.full_swap, x[d]) for at, x in everywhere]
        for d in range(N_LAYERS + 1)
    ]
    at_end = source[-1, torch.arange(len(BASE)), LAST]
    sets.append([site(depth_hook(N_LAYERS, N_LAYERS), LAST, polar.full_swap, at_end)])
    expected = model.logits(SOURCE)
    assert (expected - model.logits(BASE)).abs().amax((1, 2)).min() > 1e-2
    assert_same(logits(model, sets), expected.expand(len(sets), -1, -1, -1), 1e-5)


def test_a_known_answer(tmp_path: Path, backend: Backend) -> None:
    # Block 1 adds 6 unit(x) of the input x to 3 unit("is"): squared length 9 + 36. Output i reads
    # input i after the final norm.
    folder = planted.switch(tmp_path / "switch", n_layers=2, layer=1)
    model = load_model(folder, backend=backend)
    batch = model.tokenize(["from in0 is"])
    other = model.residual_stream("from in3 is", [2]).resid[1, :, 0]
    own = model.residual_stream("from in0 is", [2]).resid[1, :, 0]
    columns = model.tokenize(["out0 out3"]).tokens[:, 1:]
    input_position, end = torch.tensor([2]), batch.last
    known = {
        "full": (site(depth_hook(1, 2), input_position, polar.full_swap, other), 0, 6, 45),
        # The norm at the input is divided out; both inputs in one state share its unit length.
        "norm": (site(depth_hook(1, 2), input_position, lambda x, _: 5 * x), 6, 0, 45),
        "mix": (
            site(depth_hook(1, 2), input_position, lambda x, s: x + s, other),  # type: ignore[operator]
            18**0.5,
            18**0.5,
            45,
        ),
        # Twice what block 1 moves.
        "z": (site(site_hook("z", 1), end, lambda x, _: 2 * x), 12, 0, 9 + 12**2),
        # Too late: the input has been read.
        "late": (site(depth_hook(2, 2), input_position, polar.full_swap, other), 6, 0, 45),
        "end": (site(depth_hook(2, 2), end, polar.full_swap, own), 3, 0, 9),
    }
    sets = [[edit] for edit, *_ in known.values()]
    found = model.readout(states(model, sets, batch)[:, 0, 0], columns.expand(len(sets), 1, -1))
    for (name, (_, first, second, squared)), row in zip(known.items(), found[:, 0], strict=True):
        expected = torch.tensor([first, second]) * (planted.D_MODEL / squared) ** 0.5
        torch.testing.assert_close(row, expected, atol=1e-4, rtol=0, msg=name)


# What is read.


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_several_depths_are_those_of_the_edited_run(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    middle = BASE.lengths // 2
    sets = [
        [site(site_hook("mlp_out", 0), middle), site(depth_hook(2, N_LAYERS), LAST)],
        [site(site_hook("z", 2), FIRST, head=1)],
        [site(depth_hook(0, N_LAYERS), FIRST), site(depth_hook(3, N_LAYERS), LAST)],
        [],
    ]
    everything = list(range(N_LAYERS + 1))
    expected = torch.stack(
        [edited_states(model, BASE, e, everything, LAST[:, None]).transpose(0, 1) for e in sets]
    )
    for depths in (everything, [1, 3], [2]):
        for way in ("replay", "hooks"):
            found = states(model, sets, depths=depths, engine=way)
            assert_same(found, expected[:, :, depths])


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_several_positions_and_all_of_them(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    middle, last = BASE.lengths // 2, N_LAYERS - 1
    sets = one_of_each(architecture, middle) + one_of_each(architecture, middle, last)
    expected = by_hooks(model, sets, "all")
    found = logits(model, sets, positions="all")
    assert_same(torch.where(BASE.mask[..., None], found, 0.0), expected)
    few = torch.tensor([[3, -1, 0, 4, 4], [0, 0, 0, 0, 0], [11, 2, -2, 6, 5], [4, 3, 2, 1, 0]])
    sets = one_of_each(architecture, middle)
    assert_same(logits(model, sets, positions=few), by_hooks(model, sets, few))


def test_only_some_prompts(tiny_llama: DepthModel) -> None:
    sets = [*one_of_each("llama"), []]
    only = torch.rand(len(sets), len(BASE), generator=torch.Generator().manual_seed(0)) < 0.4
    only[:, 1], only[0], only[-1] = False, False, True
    asked = []

    def largest(logits: Tensor, rows: Tensor) -> Mapping[str, Tensor]:
        asked.append(len(rows))
        return {"largest": logits.amax(-1), "prompt": rows.float()}

    expected = by_hooks(tiny_llama, sets)[:, :, 0].amax(-1)
    for way in ("replay", "hooks"):
        found = replay_measure(tiny_llama, BASE, sets, largest, only=only, engine=way)
        assert torch.equal(found["largest"].isnan(), ~only)
        assert_same(found["largest"][only], expected[only])
        assert torch.equal(
            found["prompt"][only], torch.arange(len(BASE)).expand_as(only)[only].float()
        )
    assert sum(asked) == 2 * only.sum()
    none = torch.zeros_like(only)
    assert replay_measure(tiny_llama, BASE, sets, largest, only=none) == {}
    assert replay_measure(tiny_llama, BASE, [], largest) == {}


@pytest.mark.parametrize(("architecture", "backend"), MODELS)
def test_columns_of_the_readout(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    generator = torch.Generator().manual_seed(0)
    resid = 3 * torch.randn(2, len(BASE), model.d_model, generator=generator)
    columns = torch.randint(model.d_vocab, (len(BASE), 3), generator=generator)
    columns[0, 1] = columns[0, 0]
    whole, each = model.readout(resid), columns.expand(2, -1, -1)
    torch.testing.assert_close(
        model.readout(resid, each), whole.gather(-1, each), atol=1e-5, rtol=1e-5
    )
    sets = [[site(site_hook("attn_out", 1))], []]

    def first_two(logits: Tensor, rows: Tensor) -> Mapping[str, Tensor]:
        assert (logits.shape, logits.dtype) == ((len(rows), 3), torch.float32)
        return {"a": logits[:, 0], "c": logits[:, 2]}

    found = replay_measure(model, BASE, sets, first_two, columns=columns)
    expected = by_hooks(model, sets)[:, :, 0].gather(-1, each)
    assert_same(torch.stack([found["a"], found["c"]], -1), expected[..., [0, 2]])


# How the work is cut up.


@pytest.mark.parametrize("architecture", ["gemma2"])
def test_the_parts_do_not_matter(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    sets = [[], *one_of_each(architecture, BASE.lengths // 2), *one_of_each(architecture)]
    whole, options = logits(model, sets), {"check": False, "max_memory": 1}
    # Prompt by prompt and run by run.
    assert len(list(replay(model, BASE, sets, **options))) >= len(sets) * 3
    assert_same(logits(model, sets, **options), whole, 1e-5)
    assert_same(logits(model, sets, max_memory=400_000), whole, 1e-5)
    order = torch.randperm(len(sets), generator=torch.Generator().manual_seed(0))
    assert_same(logits(model, [sets[i] for i in order], check=False), whole[order], 1e-5)
    for row in (1, 3):
        mine = torch.tensor([row])
        alone = [[edit.of(mine) for edit in edits] for edits in sets]
        assert_same(logits(model, alone, BASE[mine], check=False), whole[:, mine], 1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_where_memory_runs_out_the_work_is_halved(
    tiny_llama: DepthModel, error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [[], *one_of_each("llama", BASE.lengths // 2)[3:]]
    expected = logits(tiny_llama, sets)
    resid, most = chunk.Chunk.resid, {"runs": 3, "prompts": 9}
    sizes = []

    def limited(self: chunk.Chunk, depths: Sequence[int]) -> Tensor:
        sizes.append(len(self._runs))
        if len(self._runs) > most["runs"]:
            raise error
        return resid(self, depths)

    class LimitedBase(fused.Attending):
        def attend(
            self, q: Tensor, k: Tensor, v: Tensor, past_k: Any, past_v: Any, rule: Any
        ) -> Tensor:
            if len(q) > most["prompts"] * max(LENGTHS):
                raise error
            return super().attend(q, k, v, past_k, past_v, rule)

    monkeypatch.setattr(chunk.Chunk, "resid", limited)
    assert_same(logits(tiny_llama, sets), expected, 1e-5)
    assert max(sizes) > 3 >= min(sizes)
    monkeypatch.setattr("lensdepth.replay.base.Attending", LimitedBase)
    most["prompts"] = 1
    assert_same(logits(tiny_llama, sets), expected, 1e-5)
    for nothing_left in ({"runs": 0}, {"runs": 9, "prompts": 0}):
        most.update(nothing_left)
        with pytest.raises(type(error), match="memory"):
            logits(tiny_llama, sets, check=False)


def test_other_errors_pass(tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def broken(self: chunk.Chunk, depths: Sequence[int]) -> Tensor:
        calls.append(len(self._runs))
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(chunk.Chunk, "resid", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        logits(tiny_llama, one_of_each("llama"), check=False)
    assert len(calls) == 1


# Trust.


class Skewed(fused.Attending):
    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, past_k: Any, past_v: Any, rule: Any
    ) -> Tensor:
        return super().attend(q, k, v, past_k, past_v, replace(rule, scale=1.2 * rule.scale))


@pytest.mark.parametrize(("architecture", "place"), [("llama", "chunk"), ("gpt_neox", "base")])
def test_blocks_that_replay_wrongly_are_not_trusted(
    load_tiny: Load,
    architecture: str,
    backend: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = anew(load_tiny(architecture, backend))
    sets = one_of_each(architecture, BASE.lengths // 2)
    monkeypatch.setattr(f"lensdepth.replay.{place}.Attending", Skewed)
    with pytest.raises(RuntimeError, match=r"cannot be replayed: .* differ from .* by \d"):
        logits(model, sets)
    assert not caplog.records
    for _ in range(2):
        assert_same(logits(model, sets, engine="auto"), by_hooks(model, sets), 1e-5)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "interventions run hook by hook, since the replayed logits differ" in said
    assert (logits(model, sets, check=False) - by_hooks(model, sets)).abs().max() > 1e-3


def test_hooks_of_the_user_are_heeded(
    tiny_llama: DepthModel, caplog: pytest.LogCaptureFixture
) -> None:
    sets, plain = one_of_each("llama"), logits(tiny_llama, one_of_each("llama"))
    point = tiny_llama.model.hook_dict["blocks.1.hook_mlp_out"]
    point.add_hook(lambda activation, hook: 1.5 * activation)
    model = anew(tiny_llama)
    try:
        with pytest.raises(RuntimeError, match=r"attached to its hooks, the first at blocks\.1"):
            logits(model, sets)
        before = traces(model)
        found = logits(model, sets, engine="auto")
        assert_same(logits(model, sets, engine="auto"), found, 0)
        assert traces(model) == before
        assert len(point.fwd_hooks) == 1
        assert_same(found, by_hooks(model, sets), 1e-5)
        assert (found - plain).abs().max() > 1e-2
        assert len(caplog.records) == 1
    finally:
        point.reset_hooks() if hasattr(point, "reset_hooks") else point.remove_hooks("fwd")
    assert_same(logits(model, sets), plain, 1e-6)


def test_hooks_of_torch_are_found_out(
    tiny_llama: DepthModel, caplog: pytest.LogCaptureFixture
) -> None:
    model, sets = anew(tiny_llama), one_of_each("llama")
    handle = model.model.blocks[1].mlp.register_forward_hook(lambda _, __, output: 1.5 * output)
    try:
        with pytest.raises(RuntimeError, match="the replayed logits differ"):
            logits(model, sets)
        assert_same(logits(model, sets, engine="auto"), by_hooks(model, sets), 1e-5)
        assert len(caplog.records) == 1
    finally:
        handle.remove()
    assert_same(logits(model, sets), by_hooks(model, sets))


@pytest.mark.parametrize("hook", ["blocks.0.attn.hook_q", "hook_embed"])
def test_hooks_that_the_engine_does_not_know_take_the_plain_way(
    tiny_llama: DepthModel, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, sets = anew(tiny_llama), [[site(hook), site(depth_hook(2, N_LAYERS))], []]
    assert_same(logits(model, sets, engine="auto"), by_hooks(model, sets), 1e-5)
    assert f"an edit at {hook} needs the whole forward pass" in caplog.text
    with pytest.raises(RuntimeError, match=f"an edit at {hook}"):
        logits(model, sets)


def test_an_edit_that_never_fires_is_an_error(tiny_llama: DepthModel) -> None:
    gated = "blocks.1.hook_mlp_in"  # takes hooks and stays silent unless a flag is set
    with pytest.raises(RuntimeError, match=f"'{gated}' took a function and never ran it"):
        logits(anew(tiny_llama), [[site(gated)]], engine="auto")


def test_a_silent_hook_in_a_replayed_block_is_an_error(
    tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk.Chunk, "change", lambda self, hook, x: x)
    hook = site_hook("mlp_out", 1)
    with pytest.raises(RuntimeError, match=f"'{hook}' took an edit and never ran it"):
        logits(tiny_llama, [[site(hook)]], check=False)


# Nothing is left behind.


def traces(model: DepthModel) -> list[Any]:
    """All that an engine could leave on a model."""
    modules = {id(m): m for m in model.model.modules()}
    root = getattr(model.model, "original_model", None)
    modules |= {} if root is None else {id(m): m for m in root.modules()}
    found: list[Any] = []
    for module in modules.values():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        config = getattr(module, "config", None)
        found.append(
            (
                [list(h.values()) for h in hooks],
                module.training,
                sorted(vars(module)),
                {name: id(p) for name, p in module._parameters.items()},
                [id(p.grad) if p.grad is not None else None for p in module.parameters(False)],
                {name: id(b) for name, b in module._buffers.items()},
                id(config),
                getattr(config, "_attn_implementation", None),
            )
        )
    return [*found, [list(p.fwd_hooks) for p in set(model.model.hook_dict.values())]]


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_nothing_is_left_behind(load_tiny: Load, architecture: str, backend: str) -> None:
    model = load_tiny(architecture, backend)
    sets = one_of_each(architecture)
    before, plain = traces(model), model.logits(BASE)
    for way, grad in (("replay", False), ("replay", True), ("hooks", False)):
        logits(model, sets, engine=way, grad=grad)
        assert traces(model) == before
    assert_modes_of_old()
    assert torch.equal(model.logits(BASE), plain)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("stream", ["resid_post", "z"])
def test_nothing_is_left_behind_after_an_error(
    tiny_llama: DepthModel, error: type[BaseException], stream: Stream
) -> None:
    def fail(found: Tensor, source: Tensor | None) -> Tensor:
        raise error

    before, plain = traces(tiny_llama), tiny_llama.logits(BASE)
    sets = [[site(site_hook(stream, 1))], [site(site_hook(stream, 1), edit=fail)]]
    with pytest.raises(error):
        logits(tiny_llama, sets)
    assert traces(tiny_llama) == before
    assert_modes_of_old()
    assert_same(logits(tiny_llama, [()])[0], plain, 1e-5)


@pytest.mark.parametrize("way", ["replay", "hooks"])
def test_a_reader_may_stop_half_way_and_use_gradients(tiny_llama: DepthModel, way: Any) -> None:
    before = traces(tiny_llama)
    parts = replay(tiny_llama, BASE, one_of_each("llama"), engine=way, max_memory=1)
    for _, part in zip(range(3), parts, strict=False):
        assert_modes_of_old()
        assert not part.resid.requires_grad
        assert not part.resid.is_inference()
        w = torch.ones(tiny_llama.d_model, requires_grad=True)
        (part.resid * w).square().sum().backward()
        torch.testing.assert_close(w.grad, 2 * part.resid.square().sum((0, 1, 2)))
    parts.close()  # type: ignore[attr-defined]
    assert traces(tiny_llama) == before
    assert_modes_of_old()


def test_a_model_in_training_mode_is_read_without_dropout(load_tiny: Load, backend: str) -> None:
    model, sets = load_tiny("gpt2", backend), one_of_each("gpt2")
    expected = logits(model, sets)
    root = getattr(model.model, "original_model", model.model)
    assert any(isinstance(m, torch.nn.Dropout) and m.p > 0 for m in root.modules()) or (
        backend == "hooked"
    )
    was = {m: m.training for r in (model.model, root) for m in r.modules()}
    try:
        model.model.train()
        root.train()
        before = traces(model)
        assert_same(logits(model, sets), expected, 1e-5)
        assert traces(model) == before
    finally:
        for module, training in was.items():
            module.training = training


# Gradients.


@pytest.mark.parametrize(("architecture", "backend"), FEW)
def test_gradients_are_those_of_plain_hooks(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    middle, d_head = BASE.lengths // 2, model.model.cfg.d_head
    widths = {"resid_post": model.d_model, "attn_out": model.d_model, "z": d_head}
    token, last_hook = 7, depth_hook(N_LAYERS, N_LAYERS)
    generator = torch.Generator().manual_seed(0)
    for stream in ("resid_post", "attn_out", "z"):
        given_states = torch.randn(len(BASE), widths[stream], generator=generator)
        gradients = []
        for way in ("replay", "hooks"):
            source = given_states.clone().requires_grad_()
            head = 2 if stream == "z" else None
            edits = [
                site(site_hook(stream, 0), middle, halfway, source, head),
                site(site_hook("mlp_out", 1), LAST, turned),
            ]
            if way == "replay":
                (part,) = replay(model, BASE, [edits], grad=True, engine="replay")
                resid = part.resid[part.prompts.argsort(), 0, 0]
            else:
                kept = capture(
                    model.hook_points,
                    model.passes.forward,
                    BASE.tokens,
                    [last_hook],
                    LAST[:, None],
                    edits=edits,
                    resid_mid_is_branch=backend == "bridge",
                )
                resid = kept[last_hook][:, 0]
            model.readout(resid, grad=True)[:, token].sum().backward()
            gradients.append(source.grad)
        assert gradients[1].abs().amax(1).min() > 1e-4
        torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)
    source = torch.randn(len(BASE), model.d_model, requires_grad=True)
    (part,) = replay(model, BASE, [[site(depth_hook(1, N_LAYERS), LAST, halfway, source)]])
    assert not part.resid.requires_grad


# Other numbers, processed weights.


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.1), ("float64", 1e-5)])
def test_other_dtypes(
    model_folder: Any, architecture: str, backend: Backend, dtype: str, tolerance: float
) -> None:
    model = load_model(model_folder(architecture), backend=backend, dtype=dtype)
    sets = one_of_each(architecture, BASE.lengths // 2)
    found = states(model, sets, check=False)
    assert found.dtype == getattr(torch, dtype)
    expected = states(model, sets, engine="hooks")
    assert_same(found.double(), expected.double(), tolerance)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_processed_models_are_never_silently_wrong(
    model_folder: Any, architecture: str, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    raw = load_model(model_folder(architecture), backend=backend)
    if backend == "hooked":
        raw.model.process_weights_(fold_ln=True, center_unembed=architecture != "gemma2")
    else:
        raw.model.enable_compatibility_mode()
    model = anew(raw)
    assert model.info.weights == "processed"
    sets = one_of_each(architecture, BASE.lengths // 2)
    caplog.clear()
    assert_same(logits(model, sets, engine="auto"), by_hooks(model, sets))
    try:
        logits(model, sets)
    except RuntimeError:
        assert "interventions run hook by hook" in caplog.text
    else:
        assert not caplog.records


# Bad input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [4]}, r"depths must ascend within 0\.\.\.3 \(n_layers\), got \[4\]"),
        ({"depths": [-1, 2]}, r"depths must ascend"),
        ({"depths": [2, 1]}, r"depths must ascend .*, got \[2, 1\]"),
        ({"depths": [1, 1]}, r"depths must ascend"),
        ({"depths": []}, r"depths must ascend"),
        ({"only": torch.ones(1, 3, dtype=torch.bool)}, r"`only` must have shape \[1, 4\]"),
        ({"positions": [3, 0, 12, 4]}, "12 lies outside prompt 2, which has 12 tokens"),
        ({"max_memory": 0}, "max_memory must be a number of bytes, got 0"),
    ],
)
def test_bad_options_are_refused_before_any_forward_pass(
    tiny_llama: DepthModel, options: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Passes, "forward", no_pass)
    with pytest.raises(ValueError, match=message):
        replay(tiny_llama, BASE, [[site(depth_hook(1, N_LAYERS))]], **options)


def no_pass(*_: object) -> None:
    raise AssertionError("a forward pass ran")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (site("blocks.3.hook_mlp_out"), r"no hook 'blocks\.3\.hook_mlp_out'.*blocks are 0\.\.\.2"),
        (site("blocks.1.hook_between"), r"no hook 'blocks\.1\.hook_between'"),
        (
            site(depth_hook(1, 3), torch.tensor([0, 1, 0, 0])),
            "1 lies outside prompt 1, which has 1",
        ),
        (site(depth_hook(1, 3), torch.tensor([0, 0, 0, -6])), "-6 lies outside prompt 3"),
        (
            site(depth_hook(1, 3), LAST[:3], polar.full_swap, torch.zeros(3, 32)),
            "one source state per prompt is needed, got 3 for 4",
        ),
        (site(depth_hook(1, 3), LAST[:3]), r"got shape \[3, 1\] for 4 prompts"),
    ],
)
def test_edits_that_do_not_fit_are_refused_before_any_forward_pass(
    tiny_llama: DepthModel, edit: SiteEdit, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Passes, "forward", no_pass)
    with pytest.raises(ValueError, match=message):
        replay(tiny_llama, BASE, [[], [edit]])


def test_one_position_is_measured(tiny_llama: DepthModel) -> None:
    with pytest.raises(ValueError, match="one position a prompt is needed, got 12"):
        replay_measure(tiny_llama, BASE, [()], lambda *_: {}, positions="all")


@pytest.mark.parametrize(("architecture", "backend"), FEW)
@pytest.mark.parametrize("at", ["middle", "first", "last"])
def test_positions_in_any_order_and_twice(
    load_tiny: Load, architecture: str, backend: str, at: str
) -> None:
    model = load_tiny(architecture, backend)
    edited = {"middle": BASE.lengths // 2, "first": FIRST, "last": LAST}[at]
    sets = [*one_of_each(architecture, edited), *one_of_each(architecture, edited, N_LAYERS - 1)]
    few = torch.tensor([[3, -1, 0, 4, 4], [0, 0, 0, 0, 0], [11, 2, -2, 6, 5], [4, 3, 2, 1, 0]])
    found = logits(model, sets, positions=few, check=False)
    assert_same(found, by_hooks(model, sets, few))


@pytest.mark.parametrize("depths", [[2], [2, 3], [0, 1, 2]])
def test_a_depth_is_read_after_every_edit_at_it(tiny_llama: DepthModel, depths: list[int]) -> None:
    """The state that leaves a block and enters the next has two hooks."""
    sets = [[site("blocks.2.hook_resid_pre")], [site(depth_hook(2, N_LAYERS))]]
    found = states(tiny_llama, sets, depths=depths)
    assert_same(found[0], found[1])
    assert_same(found, states(tiny_llama, sets, depths=depths, engine="hooks"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (site("blocks.1.attn.hook_z", head=9), r"names head 9; heads are 0\.\.\.3"),
        (site("blocks.1.attn.hook_z", head=-1), "names head -1"),
        (site("blocks.1.hook_mlp_out", head=1), "names head 1; there are no heads"),
    ],
)
def test_heads_that_are_not_there(
    tiny_llama: DepthModel, edit: SiteEdit, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Passes, "forward", no_pass)
    with pytest.raises(ValueError, match=message):
        replay(tiny_llama, BASE, [[edit]])


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_half_precision_passes_the_check(
    model_folder: Any, architecture: str, backend: Any
) -> None:
    model = load_model(model_folder(architecture), backend=backend, dtype="bfloat16")
    assert states(model, one_of_each(architecture, BASE.lengths // 2)).isfinite().all()


def test_nothing_waits_for_the_garbage_collector(
    tiny_llama: DepthModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory would grow with the number of interventions if finished chunks lived on."""
    seen = []
    start = Chunk.__init__

    def watched(self: Chunk, *parts: Any) -> None:
        start(self, *parts)
        seen.append(weakref.ref(self))

    monkeypatch.setattr(Chunk, "__init__", watched)
    gc.collect()
    gc.disable()
    try:
        states(tiny_llama, 5 * one_of_each("llama", FIRST), max_memory=200_000)
        assert len(seen) > 3
        assert [ref for ref in seen if ref() is not None] == []
    finally:
        gc.enable()
