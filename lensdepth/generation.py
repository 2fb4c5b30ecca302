"""Continuing a text token by token, with a key/value cache that is never taken on trust.

A cache makes each new token one position of work. Whether it gives what the model itself gives
is compared, and not assumed: rescaled or windowed positions, a state of another kind, or a
function attached to the model that counts positions its own way would each change the text and
say nothing. Nothing here knows a backend; `reading.cached_step` brings the passes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.interface import ReadModel

NextLogits = Callable[[Sequence[int]], Float[Tensor, " d_vocab"]]
"""Token ids -> logits of the token after them, float32, on the CPU."""
CachedStep = Callable[[Sequence[int], int], Float[Tensor, " d_vocab"]]
"""(new token ids, how many the cache holds) -> logits after them; they join the cache."""

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest accepted difference of a logit between a plain pass and one that saves work (a cached one
here, a replayed one in `replay.trust`), as a share of the largest logit (or of 1, if more)."""


_N_CACHED: ContextVar[int] = ContextVar("n_cached", default=0)


def n_cached() -> int:
    """Positions that stand in a cache in front of those of the pass at work here."""
    return _N_CACHED.get()


@contextmanager
def holding(n: int) -> Iterator[None]:
    """Round a pass that goes on where a cache of so many positions ends."""
    before = _N_CACHED.set(n)
    try:
        yield
    finally:
        _N_CACHED.reset(before)


class Uncacheable(Exception):
    """A model's cache does not give what its plain passes give; says why."""


def generate(
    model: ReadModel,
    prompt: str,
    step: CachedStep | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> str:
    """See `DepthModel.generate`; the arguments are those of `continued_ids`."""
    ids, new = continued_ids(model, prompt, step, max_new_tokens, temperature, seed)
    return prompt + continued_text(model, ids, new)


def continued_text(model: ReadModel, ids: Sequence[int], new: Sequence[int]) -> str:
    """What new tokens add to a prompt's text: what the tokenizer makes of all ids, less the
    prompt's part, which keeps the prompt as it is."""
    text, given = (
        model.tokenizer.decode(part, skip_special_tokens=True) for part in ([*ids, *new], ids)
    )
    return text[len(given) :]


def continued_ids(
    model: ReadModel,
    prompt: str,
    step: CachedStep | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    caller: str = "generate",
    each: Callable[[], None] = lambda: None,
) -> tuple[list[int], list[int]]:
    """The tokens of a prompt, and those that the model continues it with.

    Args:
        model: writes the text.
        prompt: the text to continue.
        step: the model with a cache, empty at first; None makes do without.
        max_new_tokens: at most.
        temperature: as for `sampler`.
        seed: of the sampling.
        caller: names itself in errors.
        each: called behind every token.
    Raises:
        ValueError: a number of tokens or a temperature that is none.
    """
    if max_new_tokens < 0:
        raise ValueError(
            f"{caller}: max_new_tokens must be a whole number, 0 or more, got {max_new_tokens}."
        )
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"{caller}: temperature must be 0 or more, got {temperature}.")
    ids = model.tokenize(prompt).row(0)
    longest = min(len(ids) + max_new_tokens, model.n_ctx)
    end = getattr(model.tokenizer, "eos_token_id", None)

    def plain(ids: Sequence[int]) -> Float[Tensor, " d_vocab"]:
        return model.logits([list(ids)])[0, 0]

    def continued(next_logits: NextLogits) -> list[int]:
        draw = sampler(temperature, seed)

        def choose(logits: Float[Tensor, " d_vocab"]) -> int:
            each()
            return draw(logits)

        return continue_tokens(ids, longest, next_logits, choose, end)

    whole = None
    if step is not None and longest > len(ids) + 1:  # one token is one pass in any case
        try:
            cached = CachedLogits(plain, step, TOLERANCE.get(model.dtype, 1e-4))
            whole = continued(cached)
            cached.check_last()
        except Uncacheable as reason:
            whole = None
            model.warn_once("cache", f"text is generated without a cache, since {reason}.")
    if whole is None:
        whole = continued(plain)
    return ids, whole[len(ids) :]


def continue_tokens(
    ids: Sequence[int],
    longest: int,
    next_logits: NextLogits,
    choose: Callable[[Tensor], int],
    end: int | None,
) -> list[int]:
    """The ids and what follows them, until there are `longest` or the model ends its text.

    Args:
        ids: of the prompt.
        longest: how many there may be in the end, the prompt's included.
        next_logits: what the model says comes next.
        choose: picks a token by its logits.
        end: the token that ends a text and is no part of it; None if there is none.
    """
    ids = list(ids)
    while len(ids) < longest:
        token = choose(next_logits(ids))
        if token == end:
            break
        ids.append(token)
    return ids


def sampler(temperature: float, seed: int) -> Callable[[Tensor], int]:
    """Picks the most likely token at temperature 0, else draws one."""
    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Float[Tensor, " d_vocab"]) -> int:
        if temperature > 0:
            probs = (logits / temperature).softmax(-1)
            return int(torch.multinomial(probs, 1, generator=generator))
        return int(logits.argmax())

    return choose


class CachedLogits:
    """Next-token logits of one growing text, by a cache that is held against plain passes.

    The first step that reads the cache is compared before anything is made of it, and the last
    one afterwards, by `check_last`: a window, or positions that are rescaled beyond some length,
    only show once the text is long enough.

    Args:
        plain: the model without a cache.
        step: the model with one, empty at first.
        tolerance: as in `TOLERANCE`.
    """

    def __init__(self, plain: NextLogits, step: CachedStep, tolerance: float) -> None:
        self._plain = plain
        self._step = step
        self._tolerance = tolerance
        self._n_cached = 0
        self._checked = False
        self._unchecked: tuple[list[int], Tensor] | None = None

    def __call__(self, ids: Sequence[int]) -> Float[Tensor, " d_vocab"]:
        """Logits after `ids`, which are those of the last call and more.

        Raises:
            Uncacheable: they are not what the plain model gives.
        """
        if not self._n_cached and len(ids) > 1:
            # Without its last token, so that the first logits already come out of the cache.
            self._step(ids[:-1], 0)
            self._n_cached = len(ids) - 1
        reads_cache = self._n_cached > 0
        logits = self._step(ids[self._n_cached :], self._n_cached)
        self._n_cached = len(ids)
        if self._checked:
            self._unchecked = (list(ids), logits)
        else:
            self._compare(ids, logits)
            self._checked = reads_cache
        return logits

    def check_last(self) -> None:
        """Compare the last step, if the first was not the last.

        Raises:
            Uncacheable: its logits are not what the plain model gives.
        """
        if self._unchecked is not None:
            self._compare(*self._unchecked)
            self._unchecked = None

    def _compare(self, ids: Sequence[int], logits: Float[Tensor, " d_vocab"]) -> None:
        plain = self._plain(ids)
        allowed = self._tolerance * float(plain.abs().max().clamp_min(1.0))
        error = float((logits - plain).abs().max())
        if not error <= allowed:  # a NaN is no agreement
            raise Uncacheable(
                f"its logits after {len(ids)} tokens differ with a cache by {error:.1e}, "
                f"where {allowed:.1e} is allowed"
            )
