"""Attention of packed runs by torch's flash kernel: on a GPU, in half precision, plainly causal.

The kernel knows no past that several runs share. So it is asked twice: each run's queries for its
own keys, and the queries of all runs of a prompt that start alike for the base run's keys before
that start. Each answer comes with the logarithm of what its softmax was divided by, and by these
the two are weighed together: exactly what one softmax over both would have given. Scores are never
written down, which is what attention over long prompts spends its time and memory on.

Source: Dao, FlashAttention-2, arXiv 2307.08691; a shared prefix apart from what follows it as in
Juravsky et al., Hydragen, arXiv 2402.05099.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.replay.attention import AttentionRule, Group, attend
from lensdepth.sending import sent

logger = logging.getLogger(__name__)

KERNEL = "_flash_attention_forward"
"""Of torch's operators; its public name, `torch.nn.attention.varlen`, is younger than some torch
that is allowed here."""
TRIED_WITHIN = 0.05
"""Of numbers of about 1 in bfloat16, which are rounded by up to 0.004 here and there."""
LARGEST_HEAD = 256
"""Widest head that the kernel takes."""
OLDEST_CARD = (8, 0)
"""Least compute capability that has it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """Packed runs as the kernel takes them: where one sequence ends and the next one begins."""

    own: Int[Tensor, " end"]
    """Of the runs in the packed sequence; 0 stands in front."""
    longest_own: int
    queries: Int[Tensor, " query"]
    """Tokens of the runs that have a past, those of one past together."""
    asking: Int[Tensor, " past_end"]
    """Where in these each past's queries end."""
    longest_asking: int
    prompts: Int[Tensor, " key"]
    """Rows of the base run, of each key of each past."""
    positions: Int[Tensor, " key"]
    """And their positions."""
    given: Int[Tensor, " past_end"]
    """Where in these each past ends."""
    longest_given: int

    def on(self, device: torch.device) -> "Spans":
        """The same with its indices on a device."""
        there: dict[str, Any] = {
            name: sent(x, device) for name, x in vars(self).items() if isinstance(x, Tensor)
        }
        return replace(self, **there)


def spans_of(
    prompts: Int[Tensor, " run"], starts: Int[Tensor, " run"], stops: Int[Tensor, " run"]
) -> Spans:
    """How runs lie in the packed sequence, and what each has behind it; on the CPU.

    Args:
        prompts: rows of the base run.
        starts: first position held.
        stops: one past the last one.
    """
    lengths = stops - starts
    behind = (starts > 0).nonzero()[:, 0]
    far = int(starts.max()) + 1
    pasts, which = torch.unique(prompts[behind] * far + starts[behind], return_inverse=True)
    asking = torch.zeros(len(pasts), dtype=torch.int64).index_add(0, which, lengths[behind])
    given = pasts % far
    ordered = behind[which.argsort(stable=True)]
    offsets = lengths.cumsum(0) - lengths
    return Spans(
        own=_ends(lengths),
        longest_own=int(lengths.max()),
        queries=_within(offsets[ordered], lengths[ordered]),
        asking=_ends(asking),
        longest_asking=int(asking.max()) if len(asking) else 0,
        prompts=(pasts // far).repeat_interleave(given),
        positions=_within(torch.zeros_like(given), given),
        given=_ends(given),
        longest_given=int(given.max()) if len(given) else 0,
    )


def fits(q: Tensor, v: Tensor, rule: AttentionRule) -> bool:
    """Whether the kernel computes this layer's attention, where these queries are."""
    plain = rule.bias is None and rule.softcap is None and rule.sinks is None
    half = q.dtype in (torch.bfloat16, torch.float16) and not torch.is_grad_enabled()
    heads = q.shape[-1] == v.shape[-1] <= LARGEST_HEAD and q.shape[-1] % 8 == 0
    return plain and half and heads and q.is_cuda and _has_kernel(q.device)


def attend_fused(
    q: Float[Tensor, "token head d_head"],
    k: Float[Tensor, "token kv_head d_head"],
    v: Float[Tensor, "token kv_head d_head"],
    past_k: Float[Tensor, "prompt pos kv_head d_head"] | None,
    past_v: Float[Tensor, "prompt pos kv_head d_head"] | None,
    spans: Spans,
    scale: float,
) -> Float[Tensor, "token head d_head"]:
    """What `attention.attend` gives for whole runs, where `fits`.

    Args:
        q: queries of the packed tokens.
        k: keys of the same tokens; grouped heads as the model has them.
        v: their values.
        past_k: the base run's keys; None where every run starts at position 0.
        past_v: the base run's values.
        spans: of these runs, where `q` is.
        scale: factor on the dot products.
    """
    z, weight = _kernel(
        q, k, v, spans.own, spans.own, spans.longest_own, spans.longest_own, True, scale
    )
    if past_k is None or past_v is None or not spans.longest_given:
        return z
    keys, values = (past[spans.prompts, spans.positions] for past in (past_k, past_v))
    behind, weight_behind = _kernel(
        q[spans.queries], keys, values,
        spans.asking, spans.given, spans.longest_asking, spans.longest_given, False, scale,
    )  # fmt: skip
    # Of two softmaxes, each divided by its own sum, the sums say how much each weighs.
    share = torch.sigmoid(weight_behind - weight[spans.queries])[..., None]
    mine = z[spans.queries]
    mixed = mine + share * (behind.float() - mine.float())
    return z.index_copy(0, spans.queries, mixed.to(z.dtype))


class Attending:
    """Runs as they attend, on whichever devices they are asked for: by the kernel where it fits.

    Args:
        groups: makes the groups of these runs, when they are first needed.
        spans: likewise; None where not all that the runs hold ask, which is not for the kernel.
    """

    def __init__(
        self, groups: Callable[[], Sequence[Group]], spans: Callable[[], Spans] | None
    ) -> None:
        self._groups, self._spans = groups, spans
        self._sent_groups: dict[torch.device, Sequence[Group]] = {}
        self._sent_spans: dict[torch.device, Spans] = {}

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        past_k: Tensor | None,
        past_v: Tensor | None,
        rule: AttentionRule,
    ) -> Tensor:
        """See `attention.attend`."""
        if self._spans is not None and fits(q, v, rule):
            if q.device not in self._sent_spans:
                self._sent_spans[q.device] = self._spans().on(q.device)
            return attend_fused(q, k, v, past_k, past_v, self._sent_spans[q.device], rule.scale)
        if q.device not in self._sent_groups:
            self._sent_groups[q.device] = [group.on(q.device) for group in self._groups()]
        return attend(q, k, v, past_k, past_v, self._sent_groups[q.device], rule)


def _kernel(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ends_q: Tensor,
    ends_k: Tensor,
    longest_q: int,
    longest_k: int,
    causal: bool,
    scale: float,
) -> tuple[Float[Tensor, "token head d_head"], Float[Tensor, "token head"]]:
    """Attention of sequences that lie one behind the other, and the logarithm of its divisor."""
    z, divisor, *_ = getattr(torch.ops.aten, KERNEL)(
        q, k, v, ends_q, ends_k, longest_q, longest_k, 0.0, causal, False, scale=scale
    )
    return z, divisor.T


def _ends(lengths: Int[Tensor, " sequence"]) -> Int[Tensor, " end"]:
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)


def _within(begins: Int[Tensor, " span"], lengths: Int[Tensor, " span"]) -> Int[Tensor, " place"]:
    """All places of some spans, one span after the other."""
    shifts = (begins - (lengths.cumsum(0) - lengths)).repeat_interleave(lengths)
    return shifts + torch.arange(len(shifts))


@cache
def _has_kernel(device: torch.device) -> bool:
    """Whether a device has the kernel, and it gives for a few runs what they give in groups."""
    if not torch.backends.cuda.is_flash_attention_available():
        return False
    if torch.cuda.get_device_capability(device) < OLDEST_CARD:
        return False
    try:
        off = _tried(device)
    except (AttributeError, TypeError, RuntimeError) as error:
        logger.info(
            "replay: torch's flash kernel is asked otherwise here, and not used (%s)", error
        )
        return False
    if not off <= TRIED_WITHIN:
        logger.info("replay: torch's flash kernel is off by %.1e here, and not used", off)
        return False
    return True


def _tried(device: torch.device) -> float:
    """By how much the kernel is off the same attention in groups, on runs of both kinds."""
    prompts, starts = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 3])
    groups, stop, first = [], 5, 0
    for prompt, start in zip(prompts.tolist(), starts.tolist(), strict=True):
        places = torch.arange(first, first + stop - start)[None, None]
        first += stop - start
        group = Group(
            start=start, stop=stop, prompts=torch.tensor([prompt]), keys=places, queries=places,
            positions=None,
        )  # fmt: skip
        groups.append(group.on(device))
    drawn = torch.Generator().manual_seed(0)
    shapes = ((first, 4), (first, 2), (first, 2), (2, stop, 2), (2, stop, 2))
    given = [torch.randn((*shape, 16), generator=drawn, dtype=torch.float32) for shape in shapes]
    q, k, v, past_k, past_v = (x.to(device, torch.bfloat16) for x in given)
    rule = AttentionRule(scale=0.25)
    spans = spans_of(prompts, starts, torch.full_like(starts, stop)).on(device)
    expected = attend(q, k, v, past_k, past_v, groups, rule)
    found = attend_fused(q, k, v, past_k, past_v, spans, rule.scale)
    return float((found.float() - expected.float()).abs().max())
