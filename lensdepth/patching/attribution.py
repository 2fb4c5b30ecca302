"""Attribution patching: every patch of a sweep estimated from one gradient.

To first order the effect of putting s in the place of x is (s - x) . dm/dx, with the gradient of
the metric m taken once, in the base run. Sums over a span's tokens are one estimate for the span.

Source: Nanda 2023, "Attribution patching: activation patching at industrial scale"; Syed et al.
2023, arXiv 2310.10348.
"""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.replay.engine import replay
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import PairBlock
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import Span
from lensdepth.sweep.states import states_at


def estimate_effects(
    model: DepthModel,
    roles: Roles,
    spans: Sequence[Span],
    hooks: Sequence[str],
    heads: Sequence[int],
    edit: polar.Edit,
    pairs: slice,
    options: Options,
) -> tuple[Float[Tensor, " pair"], Float[Tensor, "pair depth span head"]]:
    """The metric in the base run of some pairs, and its estimates in the edited ones.

    Args:
        roles: of all pairs.
        spans: of all pairs, one after the other in the result.
        hooks: by depth.
        heads: one by one; none for a whole stream, which is then one head.
        edit: how the source's state is combined with what is found.
        pairs: which of them.
        options: of the sweep.
    """
    mine, here = roles.of(pairs), [span.of(pairs) for span in spans]
    given = states_at(model, mine.source, hooks, [span.source for span in here])
    own = states_at(model, mine.base, hooks, [span.base for span in here])
    block = PairBlock(model=model, roles=mine, start=pairs.start)
    base, slopes = gradients(block, here, hooks, options)
    n_heads = model.info.n_heads if heads else 1
    columns = []
    for s, span in enumerate(here):
        found, source, slope = (
            rearrange(x, "d p t (h e) -> d p t h e", h=n_heads)
            for x in (own.at_all(s), given.at_all(s), slopes[:, :, own.spans[s]])
        )
        rows = [rearrange(x, "d p t h e -> (d p t h) e") for x in (found, source)]
        put = edit(*rows).view_as(found)
        effect = einsum(put - found, slope, "d p t h e, d p t h e -> d p t h")
        effect = torch.where((span.base >= 0)[..., None], effect, 0.0)
        effect = reduce(effect, "d p t h -> p d h", "sum")
        there = span.present[:, None, None]
        columns.append(torch.where(there, base[:, None, None] + effect, torch.nan))
    estimates = torch.stack(columns, dim=2)
    return base, estimates[..., list(heads)] if heads else estimates


def gradients(
    block: PairBlock, spans: Sequence[Span], hooks: Sequence[str], options: Options
) -> tuple[Float[Tensor, " pair"], Float[Tensor, "hook pair token d_hook"]]:
    """The metric in the base run, and its slope along every activation at the spans.

    The activations get probes added that are zero, all in one run; the slope along a probe is the
    slope along its activation. 0 where a span has no token.
    """
    model, roles = block.model, block.roles
    at = torch.cat([span.base for span in spans], dim=1)
    width = model.passes.d_hook(hooks[0])
    shape = (len(hooks), *at.shape, width)
    with model.passes.differentiating(options.caller):
        at = at.clone()
        probes = torch.zeros(shape, requires_grad=True, dtype=torch.float32)
        edits = [
            SiteEdit(hook=hook, positions=at[:, j].clamp(min=0), edit=_add, source=probes[i, :, j])
            for i, hook in enumerate(hooks)
            for j in range(at.shape[1])
        ]
        value = torch.full((len(roles.base),), torch.nan, dtype=torch.float32)
        slopes = torch.zeros(shape, dtype=torch.float32)
        parts = replay(
            model, roles.base, [edits], engine=options.engine, grad=True,
            max_memory=options.max_memory,
        )  # fmt: skip
        for part in parts:
            logits = model.readout(part.resid[:, 0, 0], grad=True).cpu()
            values = block.read([options.metric], logits, part.prompts)[0]
            value[part.prompts] = values.detach()
            (slope,) = torch.autograd.grad(values.sum(), probes)
            slopes += slope
    return value, torch.where((at >= 0)[None, ..., None], slopes, 0.0)


def _add(found: Tensor, source: Tensor | None) -> Tensor:
    assert source is not None
    return found + source


def rank_agreement(
    estimated: Float[Tensor, " site"], exact: Float[Tensor, " site"]
) -> float | None:
    """Spearman's correlation of two lists of mean effects; None for fewer than three sites."""
    from scipy.stats import spearmanr

    if len(estimated) < 3:
        return None
    return float(spearmanr(estimated.numpy(), exact.numpy()).statistic)
