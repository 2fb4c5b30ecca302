"""Numbers read off next-token logits: differences, ranks, entropies, divergences.

Pure functions; everything is computed in float32 or wider from log-probabilities, in nats,
and nothing is clipped. Every argument named `logits` may be any real logits, log-probabilities
included. NaN stays NaN where the answer is a number, and is refused where it is a comparison.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def widen(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same numbers in float32, or untouched where they are wider already."""
    return x if x.dtype == torch.float64 else x.float()


def log_probs(logits: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch d_vocab"]:
    """Log-probabilities in nats."""
    return widen(logits).log_softmax(-1)


def _pick(
    x: Float[Tensor, "*batch d_vocab"], token: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    return x.gather(-1, token.to(x.device).unsqueeze(-1)).squeeze(-1)


def logit_diff(
    logits: Float[Tensor, "*batch d_vocab"],
    target: Int[Tensor, "*batch"],
    foil: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """logit(target) - logit(foil): the log-odds of the two answers, in nats."""
    wide = widen(logits)
    return _pick(wide, target) - _pick(wide, foil)


def answer_logit(
    logits: Float[Tensor, "*batch d_vocab"],
    answer: Int[Tensor, "*batch"],
    other: Int[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """logit(answer) less the mean logit of all tokens but the two answers, in nats.

    The two halves of `logit_diff`: `answer_logit(x, target, foil) - answer_logit(x, foil, target)`
    is the logit difference, whatever the reference, and no common shift of the logits changes
    them. Log-probabilities would add up as well, but a fall of the foil alone makes room for all
    other tokens: it raises the target's log-probability while its logit stays where it was. The
    mean of thousands of tokens that are no answer knows nothing of that.
    """
    wide = widen(logits)
    own, others = _pick(wide, answer), wide.sum(-1) - _pick(wide, answer) - _pick(wide, other)
    return own - others / max(1, wide.shape[-1] - 2)


def token_log_prob(
    logits: Float[Tensor, "*batch d_vocab"], token: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Log-probability of one token, in nats."""
    wide = widen(logits)
    return _pick(wide, token) - wide.logsumexp(-1)


def token_prob(
    logits: Float[Tensor, "*batch d_vocab"], token: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Probability of one token."""
    return token_log_prob(logits, token).exp()


def _refuse_nan(largest: Float[Tensor, "*batch"], caller: str) -> None:
    """Every comparison with NaN is false, which would make of it the best or the worst.

    Args:
        largest: of the logits, which is NaN where one of them is.
        caller: for the error.
    """
    wrong = largest.isnan()
    if wrong.any():
        at = wrong.nonzero()[0].tolist()
        raise ValueError(f"{caller}: the logits at {at} hold NaN, which has no place in an order.")


def token_rank(
    logits: Float[Tensor, "*batch d_vocab"], token: Int[Tensor, "*batch"]
) -> Int[Tensor, "*batch"]:
    """How many tokens have a strictly higher logit: 0 is the top, ties share the better rank.

    Raises:
        ValueError: a logit is NaN.
    """
    _refuse_nan(logits.amax(-1), "token_rank")
    own = logits.gather(-1, token.to(logits.device).unsqueeze(-1))
    return (logits > own).sum(-1)


def first_choice(logits: Float[Tensor, "*batch d_vocab"]) -> Int[Tensor, "*batch"]:
    """The most likely token; the first of several.

    Raises:
        ValueError: a logit is NaN.
    """
    largest, token = logits.max(-1)
    _refuse_nan(largest, "first_choice")
    return token


def is_top1(
    logits: Float[Tensor, "*batch d_vocab"], token: Int[Tensor, "*batch"]
) -> Bool[Tensor, "*batch"]:
    """Whether the token is the most likely one.

    Raises:
        ValueError: a logit is NaN.
    """
    return first_choice(logits) == token.to(logits.device)


def entropy(logits: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch"]:
    """Shannon entropy in nats, from 0 to log(d_vocab)."""
    return torch.special.entr(log_probs(logits).exp()).sum(-1)


def kl_divergence(
    p_logits: Float[Tensor, "*batch d_vocab"], q_logits: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats; infinite where q excludes what p allows.

    Rounding may leave a tiny negative number where p equals q.
    """
    return kl_of_log_probs(log_probs(p_logits), log_probs(q_logits))


def kl_of_log_probs(
    log_p: Float[Tensor, "*batch d_vocab"], log_q: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """The same of log-probabilities: sum p (log p - log q), where a p of zero counts nothing."""
    p = log_p.exp()
    terms = p * (log_p - log_q)
    found = terms.sum(-1)
    # Only a p of zero beside an infinite logarithm has to be left out.
    return found if found.isfinite().all() else torch.where(p == 0, 0.0, terms).sum(-1)


def js_divergence(
    p_logits: Float[Tensor, "*batch d_vocab"], q_logits: Float[Tensor, "*batch d_vocab"]
) -> Float[Tensor, "*batch"]:
    """Jensen-Shannon divergence in nats, from 0 to log 2 (Lin 1991)."""
    log_p, log_q = log_probs(p_logits), log_probs(q_logits)
    log_m = torch.logaddexp(log_p, log_q) - torch.tensor(2.0, dtype=torch.float32).log()
    return (kl_of_log_probs(log_p, log_m) + kl_of_log_probs(log_q, log_m)) / 2


def transferred_fraction(
    edited: Float[Tensor, "*shape pair"],
    base: Float[Tensor, " pair"],
    source: Float[Tensor, " pair"],
) -> Float[Tensor, "*shape pair"]:
    """(m(edited) - m(base)) / (m(source) - m(base)): 0 at the base run, 1 at the source run.

    NaN where base and source have the same metric, since nothing could be transferred there.
    """
    return share_of_way(edited - base, source - base)


def share_of_way(
    moved: Float[Tensor, "*shape pair"], way: Float[Tensor, " pair"]
) -> Float[Tensor, "*shape pair"]:
    """A change as a share of that from base to source; NaN where these do not differ."""
    return torch.where(way.abs() > 1e-6, moved / way, torch.nan)
