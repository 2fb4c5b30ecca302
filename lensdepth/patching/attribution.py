"""Attribution patching: every patch of a sweep estimated from one gradient.

To first order the effect of putting s in the place of x is (s - x) . dm/dx, with the gradient of
the metric m taken once, in the base run. Sums over a span's tokens are one estimate for the span.

Source: Nanda 2023, "Attribution patching: activation patching at industrial scale"; Syed et al.
2023, arXiv 2310.10348.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.patching.readings import Metric, Readings
from lensdepth.patching.spans import Span
from lensdepth.replay import Engine, replay
from lensdepth.roles import Roles

DIFFERENTIABLE = ("logit_diff", "log_prob")
"""Named metrics with a slope at the base run: divergences have none there, flips none at all."""


def gradients(
    model: DepthModel,
    roles: Roles,
    spans: Sequence[Span],
    hooks: Sequence[str],
    metric: str | Metric,
    engine: Engine,
    max_memory: int | None,
) -> tuple[Float[Tensor, " pair"], Float[Tensor, "hook pair token d_hook"]]:
    """The metric in the base run, and its slope along every activation at the spans.

    The activations get probes added that are zero, all in one run; the slope along a probe is the
    slope along its activation.

    Returns:
        The metric, and the gradients with the spans' tokens side by side, 0 where a span has none.
    """
    at = torch.cat([span.base for span in spans], dim=1)
    width = model.passes.d_hook(hooks[0])
    shape = (len(hooks), *at.shape, width)
    with model.passes.differentiating("patch_sweep"):
        at = at.clone()
        probes = torch.zeros(shape, requires_grad=True, dtype=torch.float32)
        edits = [
            SiteEdit(hook=hook, positions=at[:, j].clamp(min=0), edit=_add, source=probes[i, :, j])
            for i, hook in enumerate(hooks)
            for j in range(at.shape[1])
        ]
        value = torch.full((len(roles.base),), torch.nan, dtype=torch.float32)
        slopes = torch.zeros(shape, dtype=torch.float32)
        parts = replay(model, roles.base, [edits], engine=engine, grad=True, max_memory=max_memory)
        for part in parts:
            logits = model.readout(part.resid[:, 0, 0], grad=True).cpu()
            values = Readings([metric], roles, None)(logits, part.prompts)[0]
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
