"""What is independent: not pairs, but the words, templates and prompts that pairs share.

Pairs of one input word succeed or fail together, and so may pairs of one wording. A grouping says
which pairs go together in one respect; several groupings are crossed (multiway). Every interval
and every test over pairs takes them, and a task's results bring their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEWEST_UNITS = 5
"""With fewer independent units there is no interval and no verdict: spread cannot be learned from
them. A label with fewer values is taken as it is: what is found holds for these values."""
CORRUPTED = "corrupted_"
"""Begins the name of what a label is called in a pair's other prompt."""


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Which pairs go together in one respect: those that have a value in common."""

    name: str
    values: tuple[str, ...]
    """One a pair."""
    other: tuple[str, ...] = ()
    """The same kind of value in the pair's other prompt, such as its input word; () where there is
    none. Pairs go together that share a value in either role."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def roles(self) -> tuple[tuple[str, ...], ...]:
        """Its values in each role that there is."""
        return (self.values, self.other) if self.other else (self.values,)

    @property
    def noun(self) -> str:
        """What one of its values is called; a label such as "examples" is a plural already."""
        return self.name.removesuffix("s")

    @property
    def n(self) -> int:
        """Different values."""
        return len({*self.values, *self.other})


Units = tuple[Grouping, ...]
"""Groupings of the same pairs; () where every pair stands for itself."""


def count(units: Units, n_pairs: int) -> int:
    """Independent units: the fewest that any grouping has, at most as many as there are pairs."""
    return min([n_pairs, *(one.n for one in units)])


def named(units: Units) -> str:
    """What the units are, in words: `input words, counts and templates`, or `pairs`."""
    nouns = [f"{one.noun}s" for one in units] or ["pairs"]
    return " and ".join(part for part in (", ".join(nouns[:-1]), nouns[-1]) if part)


def having(labels: Units, wanted: Mapping[str, str], n: int) -> list[int]:
    """Which of n pairs have some labels' values.

    Raises:
        ValueError: there is no such label, or no pair has them.
    """
    named = {one.name: one.values for one in labels}
    for name, value in wanted.items():
        if name not in named:
            there = ", ".join(named) or "none"
            raise ValueError(f"only: there is no label {name!r} here; there are {there}.")
        if value not in named[name]:
            there = ", ".join(sorted(set(named[name])))
            raise ValueError(f"only: no pair has {name} {value!r}; there are {there}.")
    rows = [i for i in range(n) if all(named[name][i] == v for name, v in wanted.items())]
    if not rows:
        raise ValueError(f"only: no pair has all of {dict(wanted)}.")
    return rows


def take(units: Units, rows: Any) -> Units:
    """The groupings of some of the pairs.

    Args:
        units: of all pairs.
        rows: indices, or a mask with one truth value a pair.
    """

    n = len(units[0]) if units else 0
    rows = list(rows)
    is_mask = len(rows) == n and all(str(row) in ("True", "False") for row in rows)
    kept = [i for i, row in enumerate(rows) if row] if is_mask else [int(row) for row in rows]

    def some(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[i] for i in kept) if values else ()

    return tuple(
        Grouping(name=one.name, values=some(one.values), other=some(one.other)) for one in units
    )


def clean_only(units: Units) -> Units:
    """The groupings of the clean prompts alone, for what is measured without the others."""
    return tuple(Grouping(name=one.name, values=one.values) for one in units)


def given_units(
    units: Sequence[Grouping | Sequence[str | int]] | None, n_pairs: int, *, caller: str
) -> Units:
    """Groupings as somebody gives them.

    Args:
        units: groupings, or lists of labels, a label a pair; None or nothing: each pair by itself.
        n_pairs: how many labels each must have.
        caller: who asks, for messages.
    Raises:
        ValueError: labels of another number than there are pairs, or one list of labels that does
            not stand in a list of such.
    """
    made: list[Grouping] = []
    for i, one in enumerate(units or ()):
        if isinstance(one, str) or not isinstance(one, Grouping | Iterable):
            raise ValueError(
                f"{caller}: units is a list of groupings, each a label per pair, such as "
                f"[words] or [words, templates]; its entry {i} is {one!r}."
            )
        if not isinstance(one, Grouping):
            name = str(getattr(one, "name", None) or f"unit {i + 1}")
            labels = one.tolist() if hasattr(one, "tolist") else list(one)  # type: ignore[union-attr]
            one = Grouping(name=name, values=tuple(map(str, labels)))
        if len(one) != n_pairs:
            raise ValueError(
                f"{caller}: units must have a label for each of the {n_pairs} pairs; "
                f"{one.name!r} has {len(one)}."
            )
        made.append(one)
    return tuple(made)


def default_units(
    *,
    prompts: Sequence[str],
    corrupted: Sequence[str] | None,
    inputs: Sequence[str] | None,
    corrupted_inputs: Sequence[str] | None,
    labels: Mapping[str, Sequence[Any]],
) -> Units:
    """What goes together where nobody says otherwise: input words in both roles (prompts where no
    input is known), and every label that repeats.

    A label with fewer than `FEWEST_UNITS` values is no sample of anything and left out, and so is
    a grouping that another one holds already.
    """
    words = inputs if inputs is not None else prompts
    others = corrupted_inputs if inputs is not None else corrupted
    found = [
        Grouping(
            name="input word" if inputs is not None else "prompt",
            values=tuple(words),
            other=tuple(others or ()),
        )
    ]
    for name, values in labels.items():
        if name.startswith(CORRUPTED) and name.removeprefix(CORRUPTED) in labels:
            continue
        found.append(
            Grouping(
                name=name,
                values=_texts(values),
                other=_texts(labels[CORRUPTED + name]) if CORRUPTED + name in labels else (),
            )
        )
    repeating = [
        one
        for i, one in enumerate(found)
        if one.n < len(one) * (2 if one.other else 1) and (i == 0 or one.n >= FEWEST_UNITS)
    ]
    return tuple(
        one
        for i, one in enumerate(repeating)
        if not any(
            _within(one, other) and not (_within(other, one) and j > i)
            for j, other in enumerate(repeating)
            if j != i
        )
    )


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    """Labels as texts; what is missing goes together with nothing."""
    return tuple(
        f"(none, pair {i})" if value is None or value != value else str(value)
        for i, value in enumerate(values)
    )


def _within(inner: Grouping, outer: Grouping) -> bool:
    """Whether all pairs that go together in one grouping do so in the other, by one value."""
    theirs = [set(pair) for pair in zip(*outer.roles, strict=True)]
    common: dict[str, set[str]] = {}
    for role in inner.roles:
        for value, pair in zip(role, theirs, strict=True):
            common[value] = common.get(value, pair) & pair
    return all(common.values())
