"""Attention for packed tokens: many runs' suffixes in one sequence, each with its own past.

A run holds the positions `start ... stop - 1` of one base prompt. Its queries see the base run's
keys and values before `start`, which no edit of the run can change, and its own from there on.
Runs that start and stop alike are computed together, and those of one prompt share its past
without copying it. On a GPU, where starting kernels takes longer than what they do, runs that only
stop alike are: places in front of the shorter ones then stand for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.sending import sent


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionRule:
    """How one layer turns queries and keys into weights."""

    scale: float
    """Factor on the dot products."""
    softcap: float | None = None
    """Scores become `softcap * tanh(score / softcap)`."""
    bias: Float[Tensor, "#head pos pos"] | None = None
    """Added to the scores: masks of any pattern, ALiBi. None is plain causal attention."""
    sinks: Float[Tensor, " head"] | None = None
    """A score per head that takes weight and gives nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that start and stop at the same positions, as many for each of its prompts."""

    start: int
    stop: int
    prompts: Int[Tensor, " prompt"]
    """Rows of the base run."""
    keys: Int[Tensor, "prompt run key"]
    """Where the runs' keys stand in the packed sequence."""
    queries: Int[Tensor, "prompt run query"]
    """Where their queries stand, in the packed sequence of the queries."""
    positions: Int[Tensor, "prompt run query"] | None
    """The position of each query in its prompt; None if all that the runs hold ask."""
    starts: Int[Tensor, "prompt run"] | None = None
    """Where each run starts, if they differ; `start` is then the last of these, and runs that hold
    less than the longest have places in front that stand for nothing."""
    real: Int[Tensor, " place"] | None = None
    """Of all places, one prompt and run after the other, those whose queries are real; None: all
    of them."""

    def on(self, device: torch.device) -> "Group":
        """The same with its indices on a device."""
        keys = sent(self.keys, device)
        return replace(
            self,
            prompts=sent(self.prompts, device),
            keys=keys,
            queries=keys if self.queries is self.keys else sent(self.queries, device),
            positions=None if self.positions is None else sent(self.positions, device),
            starts=None if self.starts is None else sent(self.starts, device),
            real=None if self.real is None else sent(self.real, device),
        )


def attend(
    q: Float[Tensor, "token head d_head"],
    k: Float[Tensor, "own kv_head d_head"],
    v: Float[Tensor, "own kv_head d_value"],
    past_k: Float[Tensor, "prompt pos kv_head d_head"] | None,
    past_v: Float[Tensor, "prompt pos kv_head d_value"] | None,
    groups: Sequence[Group],
    rule: AttentionRule,
) -> Float[Tensor, "token head d_value"]:
    """Attention outputs of packed queries, before the output projection.

    Args:
        q: queries of the packed tokens.
        k: keys of the runs' own tokens; grouped heads as the model has them.
        v: values of the same tokens.
        past_k: the base run's keys; None where every run starts at position 0.
        past_v: the base run's values.
        groups: cover every query once.
        rule: of this layer.
    """
    parts, places = [], []
    for group in groups:
        z = _attend_group(q, k, v, past_k, past_v, group, rule).flatten(0, 2)
        place = group.queries.flatten()
        parts.append(z if group.real is None else z[group.real])
        places.append(place if group.real is None else place[group.real])
    place = places[0] if len(places) == 1 else torch.cat(places)
    z = parts[0] if len(parts) == 1 else torch.cat(parts)
    # Every query stands in one group: the inverse permutation puts the outputs in order.
    return z[torch.argsort(place)]


def _attend_group(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past_k: Tensor | None,
    past_v: Tensor | None,
    group: Group,
    rule: AttentionRule,
) -> Float[Tensor, "prompt run query head d_value"]:
    kv_heads = k.shape[1]
    _, n_runs, n_queries = group.queries.shape
    # p prompt, r run, q query, k key, h group of heads, g head in its group, d d_head
    own_q = q[group.queries].unflatten(-2, (kv_heads, -1))  # p r q h g d
    own_k, own_v = k[group.keys], v[group.keys]  # p r k h d
    mine = own_q.permute(0, 1, 3, 4, 2, 5).flatten(3, 4)  # p r h (g q) d
    scores = mine @ own_k.permute(0, 1, 3, 4, 2)  # p r h (g q) k
    base_k = base_v = None
    if group.start and past_k is not None and past_v is not None:
        base_k = past_k[group.prompts, : group.start].permute(0, 2, 3, 1)  # p h d k
        base_v = past_v[group.prompts, : group.start].transpose(1, 2)  # p h k d
        # The runs of a prompt share its past: one product for all of them.
        past = mine.transpose(1, 2).flatten(2, 3) @ base_k  # p h (r g q) k
        past = past.unflatten(2, (n_runs, -1)).transpose(1, 2)
        scores = torch.cat([past, scores], dim=-1)
    scores = scores.unflatten(3, (-1, n_queries)) * rule.scale  # p r h g q k
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    bias = _bias(group, rule, scores)
    if bias is not None:
        scores = scores + bias
    weights = _softmax(scores, rule.sinks).to(v.dtype).flatten(3, 4)  # p r h (g q) k
    if base_v is None:
        z = weights @ own_v.transpose(2, 3)  # p r h (g q) d
    else:
        z = weights[..., group.start :] @ own_v.transpose(2, 3)
        past = weights[..., : group.start].transpose(1, 2).flatten(2, 3)  # p h (r g q) k
        z = z + (past @ base_v).unflatten(2, (n_runs, -1)).transpose(1, 2)
    return z.unflatten(3, (-1, n_queries)).permute(0, 1, 4, 2, 3, 5).flatten(3, 4)


def _bias(group: Group, rule: AttentionRule, scores: Tensor) -> Tensor | None:
    """What to add to scores of shape `[prompt, run, kv_head, group, query, key]`."""
    kv_heads, size = scores.shape[2], scores.shape[3]
    if group.starts is not None:
        return _ragged_bias(group, group.starts, rule, scores)
    first, last = (group.start if rule.bias is not None else 0), group.stop
    if rule.bias is None and group.positions is None:
        n = group.stop - group.start
        if n == 1:
            return None
        own = scores.new_full((n, n), -torch.inf).triu(1)
        return torch.nn.functional.pad(own, (group.start, 0))
    if rule.bias is None:
        key = torch.arange(last, device=scores.device)
        seen = key <= group.positions[..., None]  # type: ignore[index]  # p r q k
        return torch.where(seen, 0.0, -torch.inf).to(scores.dtype)[:, :, None, None]
    if group.positions is None:
        picked = rule.bias[:, first:last, :last]  # head q k
    else:
        picked = rule.bias[:, group.positions, :last].permute(1, 2, 0, 3, 4)  # p r head q k
    if picked.shape[-3] == 1:
        return picked.unsqueeze(-3).to(scores.dtype)
    return picked.unflatten(-3, (kv_heads, size)).to(scores.dtype)


def _ragged_bias(
    group: Group, starts: Int[Tensor, "prompt run"], rule: AttentionRule, scores: Tensor
) -> Tensor:
    """The same of runs that start at different positions.

    A run sees the base run's keys before its start, and of its own those that it holds.
    """
    length, device = group.keys.shape[-1], scores.device
    own = torch.arange(group.stop - length, group.stop, device=device)
    past = torch.arange(scores.shape[-1] - length, device=device)
    keys = torch.cat([past, own])
    begin = starts[..., None]
    there = torch.cat([past < begin, own >= begin], dim=-1)  # p r k
    queries = own.expand(1, 1, -1) if group.positions is None else group.positions
    seen = there[:, :, None] & (keys <= queries[..., None])  # p r q k
    mask = torch.where(seen, 0.0, -torch.inf).to(scores.dtype)[:, :, None, None]
    if rule.bias is None:
        return mask
    picked = rule.bias[:, queries[..., None], keys].permute(1, 2, 0, 3, 4).to(scores.dtype)
    if picked.shape[2] == 1:
        return mask + picked.unsqueeze(2)
    return mask + picked.unflatten(2, scores.shape[2:4])


def _softmax(scores: Tensor, sinks: Tensor | None) -> Tensor:
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if sinks is None:
        return wide.softmax(-1)
    sink = sinks.to(wide).view(*wide.shape[2:4], 1, 1).expand(*wide.shape[:-1], 1)
    return torch.cat([wide, sink], dim=-1).softmax(-1)[..., :-1]


def as_bias(mask: Float[Tensor, "#head pos pos"]) -> Tensor | None:
    """The mask as what is added to scores; None where it is plainly causal."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)
    # Hugging Face masks with the lowest finite number, which would not survive a sum in half
    # precision next to a large score.
    mask = mask.float().masked_fill(mask <= torch.finfo(mask.dtype).min / 2, -torch.inf)
    causal = torch.full_like(mask, -torch.inf).triu(1)
    return None if torch.equal(mask, causal) else mask
