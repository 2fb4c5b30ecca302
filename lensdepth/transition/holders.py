"""Where control rests in a gap: which tokens hold it, at which depths, and in which pairs.

Everything is counted over all pairs: a pair that has no such token, or in which patching it does
not bring the answer about, is one that it does not hold. A mean is not every pair: where no token
holds half of the pairs, several may, each its own, and a label may say which.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.telling.depths import from_to
from lensdepth.transition.handover import HELD
from lensdepth.transition.pairs import MOST_VALUES
from lensdepth.units import Grouping, Units, take

ADDS = 0.2
"""Share of all pairs that a further token must hold by itself, to be named beside the first."""
N_NULL = 200
"""Labels dealt out anew, to see whether one says which token holds."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A place that holds control at some depths of a gap."""

    name: str
    """In words: `the token 'is' (1 place after the input)`; "" where no place holds it."""
    first: float
    last: float
    """Measured depths from which to which it does."""
    share: float
    """Share of the pairs in which patching it brings the source's answer about, where that is least
    over these depths; where no place holds it, what the best one has, where that is most."""
    low: float
    high: float
    """Its 95 % interval, that depth and place being given."""
    only: str = ""
    """The label values whose pairs it is counted over, `order BAB`; "" for all pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """What patching other places gave, in a gap."""

    success: Float[Array, "pair depth place"]
    """NaN where a pair has no such place."""
    depths: Float[Array, " depth"]
    named: Callable[[int, Bool[Array, " pair"]], str]
    """What a place is called in some of the pairs, in words."""
    tokens: Int[Array, "pair place"] | None = None
    """Where each place lies in each pair's prompt, so that two names of one token are known to be
    one; None: each name is another token."""

    @property
    def hits(self) -> Float[Array, "pair depth place"]:
        """Success, 0 where a pair has no such place."""
        return np.nan_to_num(self.success)


def find_holders(
    looked: Looked, *, units: Units = (), labels: Sequence[Grouping] = (), seed: int = 0
) -> tuple[Holder, ...]:
    """Who holds control, depth by depth, in order; one with no name where nobody does.

    At each depth every place counts that holds half of the pairs. Where none does, places are taken
    together, each holding pairs of its own, if they hold half between them.

    Args:
        looked: what was patched.
        units: which pairs go together, for the intervals.
        labels: what may say which place holds.
        seed: of the test of these.
    """
    found: list[list[Holder]] = []
    for d, depth in enumerate(looked.depths.tolist()):
        hits = looked.hits[:, d]
        groups = _by_label(looked, hits, labels, seed) or [
            ("", np.ones(len(hits), dtype=bool), _holding(looked, hits))
        ]
        here: list[Holder] = []
        for only, mine, places in groups:
            named = [(looked.named(place, mine), place) for place in places]
            # Where nobody holds, the best place stands without its name.
            for name, place in named or [("", int(hits[mine].mean(0).argmax()))]:
                here.append(_holder(name, depth, hits[mine, place], take(units, mine), only))
        found.append(here)
    return tuple(_joined(found))


def _holder(
    name: str, depth: float, hits: Float[Array, " pair"], units: Units, only: str
) -> Holder:
    mean, low, high = stats.mean_interval(hits, units=units, share=True)
    return Holder(
        name=name, first=depth, last=depth, share=float(mean), low=float(low), high=float(high),
        only=only,
    )  # fmt: skip


def _holding(looked: Looked, hits: Float[Array, "pair place"]) -> list[int]:
    """Places that hold half of the pairs, and such as hold pairs that those do not."""
    share = hits.mean(0)
    chosen: list[int] = []
    for place in np.argsort(-share, kind="stable").tolist():
        if share[place] >= HELD and not any(_same(looked, hits, place, one) for one in chosen):
            chosen.append(place)
    while True:
        covered = np.asarray(hits[:, chosen].any(axis=1))
        more = np.where(covered[:, None], 0.0, hits).mean(0)
        if not more.size or more.max() < ADDS:
            break
        chosen.append(int(more.argmax()))
    return chosen if hits[:, chosen].any(axis=1).mean() >= HELD else []


def _same(looked: Looked, hits: Float[Array, "pair place"], one: int, other: int) -> bool:
    """Whether a place is another name for a token that is named already."""
    if looked.tokens is None:
        return False
    mine = hits[:, one] > 0
    return bool((looked.tokens[mine, one] == looked.tokens[mine, other]).all())


def _by_label(
    looked: Looked, hits: Float[Array, "pair place"], labels: Sequence[Grouping], seed: int
) -> list[tuple[str, Bool[Array, " pair"], list[int]]]:
    """Label values, their pairs and the place that holds these, where a label says more than the
    best place of all pairs does, beyond chance; else nothing.

    Chance is the same label dealt out anew: the best of several values' best places gains by it.
    """
    usable = [one for one in labels if 1 < len(set(one.values)) <= MOST_VALUES]
    if not usable or hits.mean(0).max(initial=0.0) > 1 - ADDS:
        return []
    codes = [np.unique(one.values, return_inverse=True)[1] for one in usable]
    best = int(np.argmax([_told(hits, code) for code in codes]))
    names, code = np.unique(usable[best].values), codes[best]
    gained = _told(hits, code)
    if gained < HELD or gained - hits.mean(0).max() < ADDS:
        return []
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(hits)) for _ in range(N_NULL)]
    null = np.array([max(_told(hits, other[order]) for other in codes) for order in orders])
    if stats.permutation_p(gained, null) >= 0.05:
        return []
    by_place: dict[tuple[int, ...], list[int]] = {}
    for value in range(len(names)):
        by_place.setdefault(tuple(_holding(looked, hits[code == value])), []).append(value)
    return [
        (
            f"{usable[best].name} {' or '.join(map(str, names[values]))}",
            np.isin(code, values),
            list(places),
        )
        for places, values in by_place.items()
    ]


def _told(hits: Float[Array, "pair place"], code: Int[Array, " pair"]) -> float:
    """Success where each value of a label has the place that is best for it."""
    best = [hits[code == value].sum(0).max() for value in np.unique(code)]
    return float(np.sum(best) / len(hits))


def _joined(found: Sequence[Sequence[Holder]]) -> Iterator[Holder]:
    """Holders over the depths at which the same ones hold, in order of their first depth."""
    groups: list[tuple[list[Holder], ...]] = []
    for here in found:
        before = groups[-1] if groups else ()
        if [(x.name, x.only) for x in here] == [(x[0].name, x[0].only) for x in before]:
            for same, one in zip(before, here, strict=True):
                same.append(one)
        else:
            groups.append(tuple([one] for one in here))
    for group in groups:
        for same in group:
            which = min if same[0].name else max
            yield replace(
                which(same, key=lambda one: one.share), first=same[0].first, last=same[-1].last
            )


def resting(holders: Sequence[Holder]) -> str:
    """Holders in words, in order, with their depths where these are not all the same:
    `the token 'is' (1 place after the input) at depth 3 to 4, then the token ' so' ... at depth 5`.
    """
    named = [one for one in holders if one.name]
    spans = list(dict.fromkeys((one.first, one.last) for one in holders))
    said = []
    for span in spans:
        here = [one for one in named if (one.first, one.last) == span]
        if here:
            where = f" at {from_to(*span)}" if len(spans) > 1 else ""
            said.append(" and ".join(_of_label(one) for one in here) + where)
    return ", then ".join(said)


def _of_label(holder: Holder) -> str:
    return f"{holder.name} in pairs of {holder.only}" if holder.only else holder.name
