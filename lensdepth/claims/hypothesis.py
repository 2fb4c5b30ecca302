"""A hypothesis as data: two conditions, a metric, depths, and the difference that is expected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool
from numpy import ndarray as Array

from lensdepth import edits
from lensdepth.ablation import parts as ablation
from lensdepth.claims.verdict import Expectation
from lensdepth.outside import shown
from lensdepth.site import Stream
from lensdepth.steering import parts as steering
from lensdepth.sweep.choices import Scope
from lensdepth.sweep.readings import METRICS
from lensdepth.sweep.roles import POSITION_NAMES
from lensdepth.telling.names import metric_words

InterventionKind = Literal["ablate", "patch", "steer"]
MAIN_METRIC = "logit_diff"
METRIC_NAMES = ("transferred", *METRICS)
"""What a hypothesis may be about: every metric that goes by a name, and the transferred fraction of
the first."""
NAMED_DEPTHS = ("all", "early", "late", "best")
"""`early` and `late`: before and after the crossing of patching; `best`: where the difference is
largest in the expected direction. All three are found on pairs that share no prompt with the pair
tested."""
EDITS_OF: dict[str, tuple[str, ...]] = {
    "ablate": (*ablation.EDITS, *ablation.CONTROLS),
    "patch": edits.SWEPT,
    "steer": (*steering.PARTS, *steering.CONTROLS),
}
"""What each intervention can do."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is done to which pairs."""

    intervention: InterventionKind
    """`ablate`: a part of the state replaced by the source's; `patch`: a stream; `steer`: a
    difference of centroids added."""
    edit: str = "full"
    position: str = "prediction"
    scope: Scope = "local"
    stream: Stream = "resid_pre"
    """Of `patch`."""
    where: Mapping[str, str] | None = None
    """Label column -> value: only pairs with these."""

    def __post_init__(self) -> None:
        check_choice("intervention", self.intervention, get_args(InterventionKind))
        check_choice(f"edit of {self.intervention}", self.edit, EDITS_OF[self.intervention])
        check_choice("position", self.position, POSITION_NAMES)
        check_choice("scope", self.scope, get_args(Scope))
        check_choice("stream", self.stream, get_args(Stream))
        if self.intervention != "patch" and self.stream != "resid_pre":
            raise ValueError(f"stream {self.stream!r} goes with patch alone.")
        if self.intervention == "patch" and self.scope != "local":
            raise ValueError(f"scope {self.scope!r} goes with ablate and steer.")
        if self.intervention == "steer" and self.scope not in ("local", "suffix"):
            raise ValueError(f"steer has the scopes local and suffix, got {self.scope!r}.")


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """The first condition's effect, less the second's, compared with a threshold."""

    name: str
    first: Condition
    second: Condition | None = None
    """None: nothing is done, and the effect is 0."""
    metric: str = "transferred"
    """`transferred`: change of the logit difference over the whole difference, of means; or one of
    `lensdepth.sweep.readings.METRICS`: `success` as it is, of the others the change against the
    base run."""
    depths: str | int | tuple[int, ...] = "all"
    """One, several, `>= 7`, `<= 3`, `2..5`, or one of NAMED_DEPTHS; effects are averaged."""
    expect: Expectation = "greater"
    by: float = 0.0
    """Smallest effect of interest: the difference is more than this, less than minus this
    (`less`), or no further from 0 than this (`equivalent`)."""
    family: str = "all"
    """p-values are corrected over the hypotheses of one family."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name is empty.")
        check_choice("metric", self.metric, METRIC_NAMES)
        check_choice("expect", self.expect, get_args(Expectation))
        if not self.by >= 0 or not np.isfinite(self.by):
            raise ValueError(f"by must be a number from 0 on, got {self.by!r}.")
        if self.expect == "equivalent" and self.by == 0:
            raise ValueError(
                "by must be above 0 for an equivalence: no data can show a difference of exactly 0."
            )
        conditions = [c for c in (self.first, self.second) if c is not None]
        if (
            any(c.stream != "resid_pre" for c in conditions)
            and len({c.stream for c in conditions}) > 1
        ):
            raise ValueError("the two conditions have different streams, so their depths differ.")
        parse_depths(self.depths, None)

    @property
    def threshold(self) -> float:
        """What the difference is held against."""
        return -self.by if self.expect == "less" else self.by

    @property
    def says(self) -> str:
        """In words."""
        first = _described(self.first)
        second = "no intervention" if self.second is None else _described(self.second)
        name = metric_words(self.metric).name
        where = self.depths if isinstance(self.depths, str) else str(self.depths).strip("()")
        by = f"{self.by:g}"
        if self.expect == "equivalent":
            return f"{name} of {first} and of {second} differ by no more than {by}, depths {where}"
        more = "more" if self.expect == "greater" else "less"
        return f"{name} of {first} is {more} than that of {second} by over {by}, depths {where}"


def _described(condition: Condition) -> str:
    words = [condition.intervention, condition.edit, "at", condition.position]
    if condition.scope != "local":
        words.append(f"({condition.scope})")
    if condition.stream != "resid_pre":
        words.insert(2, condition.stream)
    for label, value in (condition.where or {}).items():
        words.append(f"where {label} = {value}")
    return " ".join(words)


def check_choice(what: str, given: Any, known: tuple[Any, ...]) -> None:
    """Refuse what is not among the choices, and list them.

    Raises:
        ValueError
    """
    if given not in known:
        raise ValueError(f"{what} must be one of {', '.join(map(str, known))}, got {shown(given)}.")


def parse_depths(
    depths: str | int | tuple[int, ...], last: int | None
) -> Bool[Array, " depth"] | None:
    """Which of the depths 0 ... `last` are meant; None for those that pairs choose.

    Args:
        depths: as a Hypothesis has them.
        last: the last depth there is; None checks the form alone.
    Raises:
        ValueError: neither form nor depth.
    """
    if isinstance(depths, bool) or not isinstance(depths, str | int | tuple):
        raise ValueError(f"depths must be numbers or a text, got {shown(depths)}.")
    if isinstance(depths, str) and depths in NAMED_DEPTHS[1:]:
        return None
    low, high, exact = _bounds(depths)
    if last is None:
        return None
    every = np.arange(last + 1)
    asked = [*exact, *(x for x in (low, high) if x is not None)]
    wrong = [x for x in asked if not 0 <= x <= last]
    if wrong:
        raise ValueError(f"depths: this model has depths 0 to {last} there, got {wrong[0]}.")
    if exact:
        return np.isin(every, exact)
    return (every >= (0 if low is None else low)) & (every <= (last if high is None else high))


def _bounds(
    depths: str | int | tuple[int, ...],
) -> tuple[int | None, int | None, tuple[int, ...]]:
    """Lowest, highest, or exactly these."""
    wrong = ValueError(
        f"depths must be a number, several, '>= 7', '<= 3', '2..5' or one of "
        f"{', '.join(NAMED_DEPTHS)}, got {shown(depths)}."
    )
    if not isinstance(depths, str):
        exact = (depths,) if isinstance(depths, int) else depths
        if not exact or any(isinstance(d, bool) or not isinstance(d, int) or d < 0 for d in exact):
            raise wrong
        return None, None, exact
    text = depths.replace(" ", "")
    if text == "all":
        return None, None, ()
    try:
        if text.startswith(">="):
            return _whole(text[2:]), None, ()
        if text.startswith("<="):
            return None, _whole(text[2:]), ()
        low, high = map(_whole, text.split(".."))
    except ValueError:
        raise wrong from None
    if low > high:
        raise wrong
    return low, high, ()


def _whole(text: str) -> int:
    if not text.isdigit():
        raise ValueError(text)
    return int(text)
