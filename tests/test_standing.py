import inspect
import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import architectures
import pytest
import torch
from conftest import Load
from hypothesis import given
from hypothesis import strategies as st
from test_generation import Recorder
from torch import Tensor

from lensdepth import polar
from lensdepth.generation import n_cached
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.polar import Edit
from lensdepth.reading import edited_states
from lensdepth.replay import replay
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.standing import StandingEdit, standing, standing_positions

PROMPTS = list(architectures.PROMPTS)
SEQUENTIAL = sorted({*architectures.CONFIGS, *architectures.BRIDGE_ONLY} - architectures.PARALLEL)
Case = tuple[Edit, Stream, Sequence[int], Any, int | None, str | None]
CASES: dict[str, Case] = {
    # edit, stream, depths, positions, head, source: one, each of the depths, or none
    "add": (polar.add(2.0), "resid_pre", [2, 0, 3], slice(4, None), None, "each"),
    "rotate": (polar.rotate(0.7), "resid_mid", [1], "all", None, "one"),
    "swap": (polar.full_swap, "attn_out", [0, 1], [0, 3, 9], None, "each"),
    "direction": (polar.direction_swap, "z", [1], slice(2, None, 3), 2, "one"),
    "heads": (polar.rotate_part(0.5), "z", [0, 2], "all", None, "one"),
    "scale": (polar.scale(0.3), "mlp_out", [1, 2], slice(None, 8), None, None),
    "norm": (polar.norm_swap, "resid_post", [1], 8, None, "one"),
    "part": (polar.keep_norm(polar.add(5.0)), "resid_post", [0], range(5, 9), None, "one"),
}


def source_of(model: DepthModel, stream: Stream, n: int, head: int | None) -> Tensor:
    width = model.d_model
    if stream == "z":
        width = model.model.cfg.d_head * (1 if head is not None else model.model.cfg.n_heads)
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


def by_hand(model: DepthModel, case: Case, ids: list[int], source: Tensor | None) -> list[SiteEdit]:
    """The same thing as one edit for each depth and position of one text."""
    edit, stream, depths, positions, head, _ = case
    every = list(range(len(ids)))
    if isinstance(positions, slice):
        every = every[positions]
    elif positions != "all":
        asked = [positions] if isinstance(positions, int) else positions
        every = [p for p in every if p in asked]
    name = depth_hook if stream == "resid_pre" else lambda depth, _: site_hook(stream, depth)
    return [
        SiteEdit(
            hook=name(depth, model.n_layers),
            positions=torch.tensor([p]),
            edit=edit,
            source=None if source is None else source.expand(len(depths), -1)[i][None],
            head=head,
        )
        for i, depth in enumerate(depths)
        for p in every
    ]


def steer(model: DepthModel, case: Case, source: Tensor | None):
    edit, stream, depths, positions, head, _ = case
    given = source[0] if source is not None and len(source) == 1 else source
    return model.steer(
        edit, depths=depths, positions=positions, source=given, stream=stream, head=head
    )


def n_hooks(model: DepthModel) -> int:
    return sum(len(point._forward_hooks) for point in set(model.model.hook_dict.values()))


def check_steered_steps(
    model: DepthModel, case: Case, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Steered cached generation against a loop of plain edited passes, step by step."""
    n_sources = {"one": 1, "each": len(case[2]), None: 0}[case[5]]
    source = source_of(model, case[1], n_sources, case[4]) if n_sources else None
    ids = model.tokenize(PROMPTS[0]).row(0)
    before = n_hooks(model)
    recorder = Recorder(model, monkeypatch)
    with steer(model, case, source) as steered:
        assert steered is model
        steered.generate(PROMPTS[0], max_new_tokens=6)
    assert n_hooks(model) == before
    assert len(recorder.tokens) == 6
    assert not caplog.records  # of a cache that was given up, or of an edit without effect
    changed = 0.0
    for i, found in enumerate(recorder.logits):
        batch = model.tokenize([[*ids, *recorder.tokens[:i]]])
        edits = by_hand(model, case, batch.row(0), source)
        wanted = next(model.run_edits(batch, [edits]))[0, 0]
        largest = float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, atol=2e-5 * largest, rtol=0)
        assert found.isfinite().all()
        changed = max(changed, float((wanted - model.logits(batch)[0, 0]).abs().max()) / largest)
    assert changed > 1e-3


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mistral"])
def test_steered_text_is_that_of_plain_edits_at_the_same_positions(
    load_tiny: Load, architecture: str, backend: str, name: str, monkeypatch: Any, caplog: Any
) -> None:
    check_steered_steps(load_tiny(architecture, backend), CASES[name], monkeypatch, caplog)


@pytest.mark.parametrize("architecture", SEQUENTIAL)
def test_steering_at_resid_mid_goes_on_in_the_residual_stream(
    load_tiny: Load, architecture: str, backend: str, monkeypatch: Any, caplog: Any
) -> None:
    backend = "bridge" if architecture in architectures.BRIDGE_ONLY else backend
    model = load_tiny(architecture, backend)
    check_steered_steps(model, CASES["rotate"], monkeypatch, caplog)
    # Adding v to resid_mid and adding v to attn_out are the same thing in any sequential block.
    vector = source_of(model, "resid_mid", 1, None)[0]
    found = []
    for stream in ("resid_mid", "attn_out"):
        with model.steer(polar.add(1.0), depths=[1], source=vector, stream=stream):
            # A pass that ends between resid_mid and the block's output must leave nothing behind.
            model.activations(PROMPTS, [site_hook("resid_mid", 1)])
            found.append(model.logits(PROMPTS, "all"))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "first"), [("add", 4), ("part", 5)])
def test_whatever_reads_the_model_sees_it_steered(
    tiny_llama: DepthModel, name: str, first: int
) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    case = CASES[name]
    source = source_of(tiny_llama, case[1], len(case[2]), None)
    plain = tiny_llama.logits(batch), tiny_llama.residual_stream(batch).resid
    with steer(tiny_llama, case, source) as steered:
        logits, log_probs = steered.logits(batch), steered.log_probs(batch)
        stream = steered.residual_stream(batch).resid
        edited = next(steered.run_edits(batch, [[last_edit(steered, batch)]]))
    torch.testing.assert_close(log_probs, logits.log_softmax(-1))
    for i in range(len(batch)):
        one = batch[i : i + 1]
        edits = by_hand(tiny_llama, case, one.row(0), source)
        wanted = next(tiny_llama.run_edits(one, [edits]))
        torch.testing.assert_close(logits[i : i + 1], wanted, atol=1e-4, rtol=1e-4)
        both = next(tiny_llama.run_edits(one, [[*edits, last_edit(tiny_llama, one)]]))
        torch.testing.assert_close(edited[i : i + 1], both, atol=1e-4, rtol=1e-4)
        states = edited_states(tiny_llama, one, edits, [0, 1, 2, 3], one.last[:, None])
        torch.testing.assert_close(stream[:, i : i + 1], states, atol=1e-4, rtol=1e-4)
        # The shortest text ends before the first steered position.
        moved = float((logits[i] - plain[0][i]).abs().max())
        assert (moved > 1e-2) == (len(one.row(0)) > first)
    torch.testing.assert_close(tiny_llama.logits(batch), plain[0], atol=0, rtol=0)
    torch.testing.assert_close(tiny_llama.residual_stream(batch).resid, plain[1], atol=0, rtol=0)


def last_edit(model: DepthModel, batch: Any) -> SiteEdit:
    hook = depth_hook(2, model.n_layers)
    return SiteEdit(hook=hook, positions=batch.last, edit=polar.scale(0.1), source=None)


def turned(found: Tensor, source: Tensor | None) -> Tensor:
    return found.flip(-1)


def test_inner_edits_act_on_what_outer_ones_produced(tiny_llama: DepthModel) -> None:
    vector = source_of(tiny_llama, "resid_pre", 1, None)[0]
    add = {"edit": polar.add(1.0), "depths": 2, "source": vector}
    flip = {"edit": turned, "depths": [2]}
    found = {}
    for order in itertools.permutations((0, 1)):
        with ExitStack() as stack:
            for i in order:
                stack.enter_context(tiny_llama.steer(**(add, flip)[i]))
            found[order] = tiny_llama.logits(PROMPTS)
    for order, together in (
        ((0, 1), lambda x, _: (x + vector).flip(-1)),
        ((1, 0), lambda x, _: x.flip(-1) + vector),
    ):
        with tiny_llama.steer(together, depths=2):
            torch.testing.assert_close(found[order], tiny_llama.logits(PROMPTS))
    assert (found[0, 1] - found[1, 0]).abs().max() > 1e-2


def test_an_edit_of_a_blocks_output_sees_what_was_changed_at_resid_mid(
    tiny_llama: DepthModel,
) -> None:
    vector = source_of(tiny_llama, "resid_mid", 1, None)[0]
    batch = tiny_llama.tokenize(PROMPTS)
    found, edited = [], []
    for stream in ("resid_mid", "attn_out"):  # the same for an added vector
        site = SiteEdit(
            hook=site_hook(stream, 1),
            positions=batch.last,
            edit=polar.add(1.0),
            source=vector.expand(len(batch), -1),
        )
        with tiny_llama.steer(turned, depths=1, stream="resid_post"):
            edited.append(next(tiny_llama.run_edits(batch, [[site]])))
            with tiny_llama.steer(polar.add(1.0), depths=1, source=vector, stream=stream):
                found.append(tiny_llama.logits(batch))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(edited[0], edited[1], atol=1e-4, rtol=1e-4)
    assert (found[0] - edited[0]).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_replay_engine_gives_way_to_hooks(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    batch = model.tokenize(PROMPTS[:2])
    states = model.residual_stream(PROMPTS[1::-1]).resid[:, :, 0]
    sets = [
        [
            SiteEdit(
                hook=depth_hook(depth, model.n_layers),
                positions=batch.last,
                edit=polar.direction_swap,
                source=states[depth],
            )
        ]
        for depth in (1, 2)
    ]

    def states_by(engine: Any) -> Tensor:
        parts = list(replay(model, batch, sets, engine=engine))
        order = torch.cat([part.sets * len(batch) + part.prompts for part in parts]).argsort()
        return torch.cat([part.resid for part in parts])[order]

    plain = states_by("replay")  # it has passed its comparison before the model is steered
    vector = source_of(model, "resid_pre", 1, None)[0]
    with model.steer(polar.add(2.0), depths=[1], positions=slice(1, 3), source=vector):
        torch.testing.assert_close(states_by("auto"), states_by("hooks"), atol=0, rtol=0)
        assert (states_by("auto") - plain).abs().max() > 1e-2
        with pytest.raises(RuntimeError, match="functions are attached to its hooks"):
            states_by("replay")
    torch.testing.assert_close(states_by("replay"), plain, atol=1e-4, rtol=1e-4)


@given(
    depths=st.sets(st.integers(0, 3), min_size=1),
    start=st.integers(0, 3),
    edit=st.sampled_from([polar.self_swap, polar.scale(1.0)]),
)
def test_an_edit_that_keeps_every_state_changes_nothing(
    trained: DepthModel, depths: set[int], start: int, edit: Edit
) -> None:
    prompt = "The capital of France is"
    plain = trained.logits(prompt, "all")
    with trained.steer(edit, depths=sorted(depths), positions=slice(start, None)):
        torch.testing.assert_close(trained.logits(prompt, "all"), plain, atol=0, rtol=0)


def test_an_edit_without_effect_is_said_once(tiny_llama: DepthModel, caplog: Any) -> None:
    text = tiny_llama.generate(PROMPTS[0], max_new_tokens=5)
    for stream in ("resid_mid", "z", "resid_pre"):
        caplog.clear()
        with tiny_llama.steer(polar.self_swap, depths=[1, 2], stream=stream):
            assert tiny_llama.generate(PROMPTS[0], max_new_tokens=5) == text
        assert [record.getMessage() for record in caplog.records] == [
            "steer: the edit acted and left every state as it was."
        ]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("inside", [True, False])
def test_nothing_is_left_behind_after_an_error(
    tiny_llama: DepthModel, error: type[BaseException], inside: bool, caplog: Any
) -> None:
    before, plain = n_hooks(tiny_llama), tiny_llama.logits(PROMPTS)
    asked = itertools.count()

    def fail(found: Tensor, source: Tensor | None) -> Tensor:
        if inside and next(asked) > 4:  # in the middle of a text, with a cache
            raise error
        return found + 1

    with (
        pytest.raises(error),
        tiny_llama.steer(fail, depths=[0, 1], positions=[40]),  # never reached
        tiny_llama.steer(fail, depths=[2], stream="resid_mid"),
    ):
        assert n_hooks(tiny_llama) > before
        tiny_llama.generate(PROMPTS[0], max_new_tokens=9)
        raise error
    assert n_hooks(tiny_llama) == before
    assert n_cached() == 0
    torch.testing.assert_close(tiny_llama.logits(PROMPTS), plain, atol=0, rtol=0)
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": 4}, r"depth must lie in 0\.\.\.3, got 4"),
        ({"depths": -1}, r"depth must lie in 0\.\.\.3, got -1"),
        ({"depths": []}, r"depths must be one at least, and each once; got \[\]"),
        ({"depths": [1, 2, 1]}, r"each once; got \[1, 2, 1\]"),
        ({"stream": "mlp_out", "depths": 3}, r"no hook 'blocks\.3\.hook_mlp_out'"),
        ({"head": 0}, "names head 0; there are no heads"),
        ({"stream": "z", "head": 4}, r"names head 4; heads are 0\.\.\.3"),
        ({"positions": -1}, "cannot be negative, got -1. Text grows as it is generated"),
        ({"positions": [2, -3]}, "cannot be negative, got -3"),
        ({"positions": slice(-4, None)}, "cannot be negative, got -4"),
        ({"positions": slice(None, None, -1)}, "cannot be negative, got -1"),
        ({"positions": []}, r"lie in 0\.\.\.47, which the model reads, and be one at least"),
        ({"positions": slice(5, 5)}, "be one at least"),
        ({"positions": slice(48, None)}, "be one at least"),
        ({"positions": 48}, r"lie in 0\.\.\.47, which the model reads.*got 48"),
        ({"source": None}, "add: this edit needs a source state, got None"),
        ({"source": torch.ones(3)}, r"shape \[32\] or, for 1 depths, \[1, 32\]; got \[3\]"),
        ({"source": torch.ones(2, 32)}, r"\[1, 32\]; got \[2, 32\]"),
        ({"source": torch.ones(1, 1, 32)}, r"got \[1, 1, 32\]"),
        ({"source": torch.full((32,), torch.nan)}, "source holds NaN or infinite numbers"),
        ({"stream": "z", "head": 1}, r"source must have shape \[8\]"),
        ({"edit": lambda x, _: x[:, :3]}, r"gave shape \[1, 3\] for \[1, 32\]"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_attached(
    tiny_llama: DepthModel, options: dict[str, Any], message: str
) -> None:
    right = {"edit": polar.add(1.0), "depths": 1, "source": torch.ones(tiny_llama.d_model)}
    before = n_hooks(tiny_llama)
    with pytest.raises(ValueError, match=message), tiny_llama.steer(**{**right, **options}):
        pytest.fail("the context was entered")
    assert n_hooks(tiny_llama) == before


def test_a_parallel_block_has_no_resid_mid(load_tiny: Load, backend: str) -> None:
    model = load_tiny("gpt_neox", backend)
    with (
        pytest.raises(ValueError, match="a parallel block has no resid_mid"),
        model.steer(polar.scale(2.0), depths=1, stream="resid_mid"),
    ):
        pytest.fail("the context was entered")


def test_positions_that_no_text_reaches_are_an_error(tiny_llama: DepthModel) -> None:
    before = n_hooks(tiny_llama)
    for positions, said in (
        ([30, 40], r"reached position 30, 40 from its start; the longest had 10 tokens"),
        (slice(30, None), r"reached position 30\.\.\.47 from its start"),
    ):
        with (
            pytest.raises(RuntimeError, match=said),
            tiny_llama.steer(polar.scale(2.0), depths=[1], positions=positions),
        ):
            tiny_llama.generate(PROMPTS[0], max_new_tokens=5)
    assert n_hooks(tiny_llama) == before


def test_what_never_ran_is_no_error_unless_it_should_have(
    tiny_llama: DepthModel, caplog: Any
) -> None:
    with tiny_llama.steer(polar.scale(2.0), depths=[3]):
        pass
    plain = tiny_llama.activations(PROMPTS, [site_hook("mlp_out", 0)])
    with tiny_llama.steer(polar.scale(2.0), depths=[3]):
        # The pass ends in block 0 and is what it would have been.
        found = tiny_llama.activations(PROMPTS, [site_hook("mlp_out", 0)])
    torch.testing.assert_close(found, plain, atol=0, rtol=0)
    assert not caplog.records
    gated = "blocks.1.hook_mlp_in"  # takes hooks and stays silent unless a flag is set
    edit = StandingEdit(hook=gated, positions=range(9), edit=turned, source=None)
    last = depth_hook(tiny_llama.n_layers, tiny_llama.n_layers)
    points = tiny_llama.hook_points
    with (
        pytest.raises(RuntimeError, match=f"'{gated}' took a function and never ran it"),
        standing(points, [edit], last=last, n_cached=lambda: 0, resid_mid_is_branch=False),
    ):
        tiny_llama.logits(PROMPTS)


def test_the_readout_is_compared_on_the_model_as_it_is(load_tiny: Load, backend: str) -> None:
    model = DepthModel(load_tiny("llama", backend).model, tokenizer=architectures.word_tokenizer())
    generator = torch.Generator().manual_seed(0)

    def noise(found: Tensor, source: Tensor | None) -> Tensor:
        return torch.randn(found.shape, generator=generator)

    with model.steer(noise, depths=3):  # no two passes would agree
        assert model.logits(PROMPTS).isfinite().all()


@given(
    positions=st.one_of(
        st.just("all"),
        st.integers(0, 19),
        st.lists(st.integers(0, 19), min_size=1),
        st.builds(slice, st.integers(0, 9), st.integers(10, 40) | st.none(), st.integers(1, 4)),
    )
)
def test_positions_are_those_of_indexing_a_text(positions: Any) -> None:
    found = standing_positions(positions, 20)
    text = range(20)
    if isinstance(positions, slice):
        wanted = list(text[positions])
    elif positions == "all":
        wanted = list(text)
    else:
        wanted = [positions] if isinstance(positions, int) else positions
    assert set(found) == set(wanted)


def test_the_end_of_a_text_is_no_position() -> None:
    unchecked = inspect.unwrap(standing_positions)  # as it runs for those who test nothing
    with pytest.raises(ValueError, match=r"got 'last'\. Text grows as it is generated"):
        unchecked("last", 20)


def test_results_say_that_the_model_was_steered(trained: DepthModel) -> None:
    name = trained.info.name
    with trained.steer(polar.scale(2.0), depths=1), trained.steer(polar.scale(2.0), depths=2):
        assert trained.info.name == f"{name} (steered)"
        trained.logits("Two months from May is")
    assert trained.info.name == name


def test_a_position_that_is_no_whole_number_is_refused() -> None:
    unchecked = inspect.unwrap(standing_positions)  # as it runs for those who test nothing
    with pytest.raises(ValueError, match=r"whole numbers, got 1\.5"):
        unchecked([1.5], 20)
