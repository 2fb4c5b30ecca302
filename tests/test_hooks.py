from collections.abc import Sequence

import architectures
import pytest
import torch
from conftest import BACKENDS, Load
from torch import Tensor

from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.tokens import TokenBatch

STREAMS: tuple[Stream, ...] = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z")
PROMPTS = list(architectures.PROMPTS)


def turned(found: Tensor, source: Tensor | None) -> Tensor:
    return found.flip(-1) + 0.5


def swap(found: Tensor, source: Tensor | None) -> Tensor:
    assert source is not None
    return source


def site(hook: str, batch: TokenBatch, edit=turned, source: Tensor | None = None) -> SiteEdit:
    return SiteEdit(hook=hook, positions=batch.last, edit=edit, source=source)


def run(model: DepthModel, batch: TokenBatch, edits: Sequence[SiteEdit]) -> Tensor:
    return next(model.run_edits(batch, [edits]))


def n_hooks(model: DepthModel) -> int:
    return sum(len(point._forward_hooks) for point in set(model.model.hook_dict.values()))


def test_names_that_the_readme_had_once_are_taken_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"lensdepth.hooks.depth_hook is called") as said:
        from lensdepth.hooks import depth_hook as once
    assert once is depth_hook
    assert said[0].filename == __file__
    with pytest.raises(ImportError):
        from lensdepth.hooks import block_site  # type: ignore[attr-defined]  # noqa: F401


def test_names() -> None:
    assert depth_hook(0, 4) == "blocks.0.hook_resid_pre"
    assert depth_hook(4, 4) == "blocks.3.hook_resid_post"
    assert site_hook("z", 2) == "blocks.2.attn.hook_z"
    with pytest.raises(ValueError, match=r"depth must lie in 0\.\.\.4, got 5"):
        depth_hook(5, 4)


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
@pytest.mark.parametrize("stream", STREAMS)
def test_every_stream_takes_edits_alike_on_every_backend(
    load_tiny: Load, architecture: str, stream: Stream
) -> None:
    edited = []
    for backend in BACKENDS:
        model = load_tiny(architecture, backend)
        batch = model.tokenize(PROMPTS)
        edits = [site(site_hook(stream, 1), batch)]
        if stream == "resid_mid" and architecture in architectures.PARALLEL:
            with pytest.raises(ValueError, match="a parallel block has no resid_mid"):
                run(model, batch, edits)
            continue
        edited.append(run(model, batch, edits))
        assert (edited[-1] - model.logits(batch)).abs().amax((1, 2)).min() > 1e-3
    for other in edited[1:]:
        torch.testing.assert_close(other, edited[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "architecture", sorted(set(architectures.CONFIGS) - architectures.PARALLEL)
)
def test_an_edit_of_resid_mid_goes_on_in_the_residual_stream(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    # Adding v to resid_mid and adding v to attn_out are the same thing in any sequential block.
    model = load_tiny(architecture, backend)
    batch = model.tokenize(PROMPTS)
    added = torch.randn(len(batch), model.d_model, generator=torch.Generator().manual_seed(0))
    results = [
        run(model, batch, [site(site_hook(s, 1), batch, lambda x, v: x + v, source=added)])
        for s in ("resid_mid", "attn_out")
    ]
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", architectures.CONFIGS)
def test_swapping_the_whole_state_at_any_depth(
    load_tiny: Load, architecture: str, backend: str
) -> None:
    model = load_tiny(architecture, backend)
    base = model.tokenize(["Two months from January is", "Four days from Monday is"])
    source = model.tokenize(["three months from June is", "two months after May is"])
    states = model.residual_stream(source).resid[:, :, 0]
    own = model.residual_stream(base).resid[:, :, 0]
    plain = swapped = model.logits(base)
    for depth in range(model.n_layers + 1):
        hook = depth_hook(depth, model.n_layers)
        self_patched = run(model, base, [site(hook, base, swap, own[depth])])
        torch.testing.assert_close(self_patched, plain, atol=0, rtol=0)
        swapped = run(model, base, [site(hook, base, swap, states[depth])])
        assert depth == 0 or (swapped - plain).abs().max() > 1e-3
    # The last state is all that the last prediction is read from.
    torch.testing.assert_close(swapped, model.logits(source), atol=1e-5, rtol=1e-5)


def test_later_edits_act_on_what_earlier_ones_produced(tiny_llama: DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    hook = depth_hook(2, tiny_llama.n_layers)
    double = site(hook, batch, lambda x, _: 2 * x)
    add = site(hook, batch, lambda x, _: x + 1)
    both = site(hook, batch, lambda x, _: 2 * x + 1)
    torch.testing.assert_close(
        run(tiny_llama, batch, [double, add]), run(tiny_llama, batch, [both])
    )
    pre = site(site_hook("resid_pre", 2), batch, lambda x, _: x + 1)  # the same state once more
    torch.testing.assert_close(
        run(tiny_llama, batch, [double, pre]), run(tiny_llama, batch, [both])
    )
    late_first = [site(depth_hook(3, 3), batch), site(depth_hook(1, 3), batch)]
    torch.testing.assert_close(
        run(tiny_llama, batch, late_first), run(tiny_llama, batch, late_first[::-1])
    )


def test_edits_in_parts_are_the_edits_of_the_whole(tiny_llama: DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    states = tiny_llama.residual_stream(PROMPTS[::-1]).resid[2, :, 0]
    edits = [site(depth_hook(2, tiny_llama.n_layers), batch, swap, states)]
    whole = run(tiny_llama, batch, edits)
    parts = next(tiny_llama.run_edits(batch, [edits], batch_size=1))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_behind_after_an_error(
    tiny_llama: DepthModel, error: type[BaseException]
) -> None:
    def fail(found: Tensor, source: Tensor | None) -> Tensor:
        raise error

    batch = tiny_llama.tokenize(PROMPTS)
    before, plain = n_hooks(tiny_llama), tiny_llama.logits(batch)
    point = tiny_llama.model.hook_dict["blocks.0.hook_resid_post"]
    point.add_hook(lambda activation, hook: None)  # somebody else's
    try:
        with pytest.raises(error):
            run(
                tiny_llama,
                batch,
                [site(depth_hook(1, 3), batch), site(depth_hook(2, 3), batch, fail)],
            )
        assert n_hooks(tiny_llama) == before + 1
        torch.testing.assert_close(tiny_llama.logits(batch), plain, atol=0, rtol=0)
    finally:
        point.remove_hooks("fwd")
    assert n_hooks(tiny_llama) == before


def test_wrong_edits_are_named(tiny_llama: DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    with pytest.raises(ValueError, match=r"no hook 'blocks\.9\.hook_mlp_out'.*blocks are 0\.\.\.2"):
        run(tiny_llama, batch, [site(site_hook("mlp_out", 9), batch)])
    with pytest.raises(ValueError, match=r"gave shape \[4, 3\] for \[4, 32\]"):
        run(tiny_llama, batch, [site(depth_hook(1, 3), batch, lambda x, _: x[:, :3])])
    with pytest.raises(ValueError, match="one source state per prompt is needed, got 1 for 4"):
        run(tiny_llama, batch, [site(depth_hook(1, 3), batch[:1], swap, torch.zeros(1, 32))])
    late = SiteEdit(
        hook=depth_hook(1, 3), positions=torch.tensor([0, 0, 0, 5]), edit=turned, source=None
    )
    with pytest.raises(ValueError, match="5 lies outside prompt 3"):
        run(tiny_llama, batch, [late])


def test_an_edit_that_never_fires_is_an_error(tiny_llama: DepthModel) -> None:
    batch = tiny_llama.tokenize(PROMPTS)
    gated = "blocks.1.hook_mlp_in"  # takes hooks and stays silent unless a flag is set
    assert gated in tiny_llama.model.hook_dict
    with pytest.raises(RuntimeError, match=f"'{gated}' took a function and never ran it"):
        run(tiny_llama, batch, [site(gated, batch)])
