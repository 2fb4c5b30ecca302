"""What edited runs gave: numbers under labels, beside those of the base and the source run.

A profile holds one `Effects`; selecting, changes against the base run, transferred fractions and
tidy tables are made here and nowhere else. Axes always stand in one order: the metric, what was
run (control, edit, scope, dose, set), the pair, and where (depth or layer, position, head).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.telling.depths import depth_columns
from lensdepth.telling.fractions import FRACTIONS
from lensdepth.units import Units

if TYPE_CHECKING:
    import pandas as pd

Label = str | int | float
Coords = Mapping[str, Sequence[Label]]
Numbers = Mapping[str, tuple[str, Tensor]]
"""By name: the axes of some numbers, as in einops, and the numbers."""
ALONG = ("depth", "first", "last", "taken", "inserted")
"""Axes that count places in a stream."""
WHERE = (*ALONG, "position", "head")
"""Axes that say where; all others say what was run."""
VERBS = {"control": "run", "edit": "made", "scope": "made", "position": "edited"}
READ = {"metric": "read", "quantity": "measured"}
DONE = {"PatchProfile": "patched", "SteeringProfile": "steered"}
"""What was not done where a label is missing, by axis; or by the profile, where it has a word."""
ANSWERS = ("target_logit", "foil_logit")
"""The two halves of the main metric `logit_diff`, where both were read off beside it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """Numbers of edited runs. What a pair does not have is NaN."""

    metrics: tuple[str, ...]
    """What was read off, the main metric first."""
    coords: dict[str, tuple[Label, ...]]
    """Labels of the axes that stand beside metric and pair, in order."""
    values: Float[Tensor, "metric *run_pair_where"]
    base: Float[Tensor, "metric pair"]
    """The unedited base run."""
    source: Float[Tensor, "metric pair"]
    """The source run; where a metric compares with the base run, it does here too."""
    intended: Literal["target", "foil"] = "target"
    """The source run's answer, which an edit should bring about: the target when denoising."""
    floor: tuple[float, ...] = ()
    """How far each metric moves, by rounding, in runs that change nothing: smaller effects are
    none. As measured in this model and dtype; empty where nobody did."""

    def __post_init__(self) -> None:
        if self.floor and len(self.floor) != len(self.metrics):
            raise ValueError(
                f"Effects: floor must have a number for each of {', '.join(self.metrics)}, got "
                f"{len(self.floor)}."
            )
        sizes = tuple(self.n_pairs if d == "pair" else len(self.coords[d]) for d in self.dims[1:])
        if self.values.shape != (len(self.metrics), *sizes):
            raise ValueError(
                f"Effects: values must have the axes {', '.join(self.dims)} of sizes "
                f"{[len(self.metrics), *sizes]}, got {list(self.values.shape)}."
            )

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of `values`."""
        return ("metric", *axes_in_order(self.coords))

    @property
    def n_pairs(self) -> int:
        return self.base.shape[1]

    def names(self, axis: str) -> tuple[str, ...]:
        """Labels of an axis that names things."""
        return tuple(map(str, self.coords[axis]))

    def places(self, axis: str) -> Int[Tensor, " place"]:
        """Labels of an axis that counts."""
        return torch.tensor(self.coords[axis])

    def unedited(
        self, run: Literal["base", "source"], metric: str, *, owner: str = "Effects"
    ) -> Float[Tensor, " pair"]:
        """A metric of the base or of the source run."""
        values = self.base if run == "base" else self.source
        return values[self.index("metric", metric, owner=owner)]

    def index(self, axis: str, label: Label | None, *, owner: str = "Effects") -> int:
        """Where a label stands on its axis; None stands for the first.

        Raises:
            ValueError: it is not there, or there is no such axis.
        """
        return _index({"metric": self.metrics, **self.coords}, axis, label, owner)

    def of(
        self, metric: str | None = None, *, owner: str = "Effects", **labels: Label | None
    ) -> Tensor:
        """One kind of number at some labels: `of("success", edit="norm", position="input")`.

        Axes of which no label is given stay, in the order of `dims`.

        Args:
            metric: one of `metrics`, the main one by default; or `"effect"`, the change of the
                main one against the base run, or `"transferred"`, the transferred fraction of it,
                or one of its parts, as the columns of `to_frame` are called.
            owner: whose numbers they are, for errors.
            labels: by axis; None stands for an axis's first.
        Raises:
            ValueError: there is no such metric, axis or label.
        """
        if metric == "effect" and metric not in self.metrics:
            values = self.change()
        elif metric in FRACTIONS and metric not in self.metrics:
            values = self.effect(metric, owner=owner)
        else:
            values = self.values[self.index("metric", metric, owner=owner)]
        return self.pick(values, owner=owner, **labels)

    def pick(self, values: Tensor, *, owner: str = "Effects", **labels: Label | None) -> Tensor:
        """Of numbers with the axes of one metric, those at some labels; see `of`."""
        return _picked(values, self.dims[1:], self.coords, labels, owner)

    def at(self, **labels: Label | None) -> "Effects":
        """The numbers at some labels, whose axes go."""
        picked = torch.stack(
            [self.pick(values, owner="Effects", **labels) for values in self.values]
        )
        rest = {axis: there for axis, there in self.coords.items() if axis not in labels}
        return replace(self, coords=rest, values=picked)

    def averaged(self, axis: str) -> "Effects":
        """The same where a label may stand several times on an axis: once, with the mean over the
        entries of that label that a pair has."""
        labels = self.coords[axis]
        once = tuple(dict.fromkeys(labels))
        if len(once) == len(labels):
            return self
        along = self.dims.index(axis)
        where = [[i for i, label in enumerate(labels) if label == one] for one in once]
        values = [self.values.index_select(along, torch.tensor(at)).nanmean(along) for at in where]
        return replace(
            self, coords={**self.coords, axis: once}, values=torch.stack(values, dim=along)
        )

    def change(self, metric: str | None = None) -> Tensor:
        """Change of a metric against the base run."""
        at = self.index("metric", metric)
        return self.values[at] - self._by_pair(self.base[at])

    def transferred(self, metric: str | None = None) -> Tensor:
        """Transferred fraction of a metric: 0 at the base run, 1 at the source run."""
        at = self.index("metric", metric)
        way = self.source[at] - self.base[at]
        return self._share(metric, torch.where(self.has_way, way, 0.0) if at == 0 else way)

    @property
    def has_way(self) -> Bool[Tensor, " pair"]:
        """Whether base and source run differ, beyond rounding, so that something could be
        transferred."""
        return (self.source[0] - self.base[0]).abs() > max(1e-6, self.floor_of(self.metrics[0]))

    def floor_of(self, effect: str) -> float:
        """The size below which an effect is rounding, in its own unit; 0 where none is known.

        Of a transferred fraction and its parts it is that of the logits over the median way from
        base to source.
        """
        parts = {"target_gain": ANSWERS[0], "foil_loss": ANSWERS[1]}
        name = self.metrics[0] if effect == "transferred" else parts.get(effect, effect)
        if not self.floor or name not in self.metrics:
            return 0.0
        floor = self.floor[self.metrics.index(name)]
        if effect not in FRACTIONS:
            return floor
        way = (self.source[0] - self.base[0]).abs().nanmedian().item()
        return floor / way if way > 0 else 0.0

    @property
    def has_gains(self) -> bool:
        """Whether it is known what a transferred fraction is made of."""
        return self.metrics[0] == "logit_diff" and set(ANSWERS) <= set(self.metrics)

    @property
    def target_gain(self) -> Tensor:
        """The part of the transferred fraction by which the source's answer rose.

        Rise of its logit, against all tokens that are no answer, over the logit difference between
        source and base run; with `foil_loss` it adds up to the transferred fraction. The source's
        answer is the target when denoising and the foil when noising.

        Raises:
            ValueError: the main metric is another one, or its halves were not read.
        """
        return self._part("target_logit" if self.intended == "target" else "foil_logit")

    @property
    def foil_loss(self) -> Tensor:
        """The part by which the base's answer fell: erased, whatever came in its place."""
        return self._part("foil_logit" if self.intended == "target" else "target_logit")

    def effect(self, name: str, *, owner: str = "Effects") -> Tensor:
        """An effect by its name; 0 where an edit does nothing.

        `transferred`, `target_gain` and `foil_loss`; or a metric's change, success as it is.

        Raises:
            ValueError: there is none of that name.
        """
        if name == "transferred":
            return self.transferred()
        if name in FRACTIONS:
            return self.target_gain if name == "target_gain" else self.foil_loss
        if name not in self.metrics:
            raise ValueError(
                f"{owner}: effect must be one of {', '.join((*FRACTIONS, *self.metrics))}, "
                f"got {name!r}."
            )
        return self.of(name) if name == "success" else self.change(name)

    def _part(self, answer: str) -> Tensor:
        if not self.has_gains:
            raise ValueError(
                f"Effects: target gain and foil loss are parts of a logit difference, and need "
                f"{' and '.join(ANSWERS)} beside it; read off were {', '.join(self.metrics)}."
            )
        way = torch.where(self.has_way, self.source[0] - self.base[0], 0.0)
        return self._share(answer, way if answer == "target_logit" else -way)

    def _share(self, metric: str | None, way: Float[Tensor, " pair"]) -> Tensor:
        """A change as a share of the way from base to source."""
        names = " ".join(self.dims[1:])
        last = " ".join([*(d for d in self.dims[1:] if d != "pair"), "pair"])
        share = metrics.share_of_way(rearrange(self.change(metric), f"{names} -> {last}"), way)
        return rearrange(share, f"{last} -> {names}")

    def moved(self, metric: str | None = None) -> Tensor:
        """Change of a metric towards the source run, as a share of the mean distance of both runs.

        Unlike the transferred fraction it divides by one number, so that means over pairs are
        fractions of means, and a pair with hardly any distance rules nothing.
        """
        at = self.index("metric", metric)
        way = self.source[at] - self.base[at]
        whole = way.abs().nanmean()
        towards = self.change(metric) * self._by_pair(way.sign())
        return towards / whole if whole > 0 else torch.full_like(towards, torch.nan)

    def _by_pair(self, values: Float[Tensor, " pair"]) -> Tensor:
        """Numbers by pair with axes of size 1 behind, so that they go with those of one metric."""
        n_behind = len(self.dims) - 1 - self.dims.index("pair")
        return rearrange(values, "pair -> pair" + " 1" * n_behind)

    def to_frame(
        self,
        stream: str,
        n_layers: int,
        columns: Numbers | None = None,
    ) -> "pd.DataFrame":
        """One row a run, pair and place: labels, metrics of the edited, base and source runs.

        Args:
            stream: whose places the axis `depth` counts; of other streams than the residual one
                the column `layer` has the block, and `depth` the depth behind it.
            n_layers: of the model, for `relative_depth`.
            columns: further ones.
        """
        import pandas as pd

        shape = dict(zip(self.dims[1:], self.values.shape[1:], strict=True))

        def spread(values: Tensor, axes: str) -> np.ndarray:
            sizes = {axis: n for axis, n in shape.items() if axis not in axes.split()}
            return repeat(values, f"{axes} -> ({' '.join(shape)})", **sizes).numpy()

        made: dict[str, object] = {}
        for axis, size in shape.items():
            at = spread(torch.arange(size), axis)
            labels = range(size) if axis == "pair" else self.coords[axis]
            places = pd.Series(list(labels)).to_numpy()[at]
            made |= _columns(axis, places, stream, n_layers)
        for i, name in enumerate(self.metrics):
            if i == 0:
                made[f"base_{name}"] = spread(self.base[0], "pair")
                made[f"source_{name}"] = spread(self.source[0], "pair")
            made[name] = spread(self.values[i], " ".join(shape))
        made["effect"] = spread(self.change(), " ".join(shape))
        made["transferred"] = spread(self.transferred(), " ".join(shape))
        if self.has_gains:
            made["target_gain"] = spread(self.target_gain, " ".join(shape))
            made["foil_loss"] = spread(self.foil_loss, " ".join(shape))
        for name, (axes, values) in (columns or {}).items():
            made[name] = spread(values, axes)
        frame = pd.DataFrame(made)
        return frame[~np.isnan(spread(self.values[0], " ".join(shape)))].reset_index(drop=True)

    def mean_frame(self, stream: str, n_layers: int, *, units: Units) -> "pd.DataFrame":
        """One row a run and place: mean effect over pairs, with its 95 % interval."""
        import pandas as pd

        from lensdepth import stats

        names = [axis for axis in self.dims[1:] if axis != "pair"]
        effects = rearrange(self.change(), f"{' '.join(self.dims[1:])} -> pair {' '.join(names)}")
        shape = effects.shape[1:]
        made: dict[str, object] = {}
        for axis, at in zip(names, np.indices(shape).reshape(len(shape), -1), strict=True):
            places = pd.Series(list(self.coords[axis])).to_numpy()[at]
            made |= _columns(axis, places, stream, n_layers)
        ends = stats.mean_interval(effects.numpy(), units=units)
        return pd.DataFrame(
            made | {n: x.ravel() for n, x in zip(("effect", "low", "high"), ends, strict=True)}
        )


def one_of(
    numbers: Numbers, coords: Coords, name: str | None = None, *, owner: str, **labels: Label | None
) -> Tensor:
    """What `Effects.of` is for edited runs, for a result whose numbers have several axes.

    Args:
        numbers: all that may be asked for; the first where none is named.
        coords: labels of the axes that one may choose on.
        name: one of `numbers`.
        owner: whose numbers they are, for errors.
        labels: by axis; None stands for an axis's first.
    Raises:
        ValueError: there is none of that name, or it has no such axis or label.
    """
    at = _index({"quantity": tuple(numbers)}, "quantity", name, owner)
    axes, values = [*numbers.values()][at]
    return _picked(values, axes.split(), coords, labels, owner)


def _picked(
    values: Tensor,
    axes: Sequence[str],
    coords: Coords,
    labels: Mapping[str, Label | None],
    owner: str,
) -> Tensor:
    own = {axis: coords[axis] for axis in axes if axis in coords}
    at = {axis: _index(own, axis, label, owner) for axis, label in labels.items()}
    return values[tuple(at.get(axis, slice(None)) for axis in axes)]


def _index(coords: Coords, axis: str, label: Label | None, owner: str) -> int:
    if axis not in coords:
        axes = ", ".join(axis for axis in coords if axis != "metric") or "none"
        raise ValueError(f"{owner}: there is no axis {axis!r} to choose on; there are {axes}.")
    there = coords[axis]
    if label is None:
        return 0
    for one in (label, str(label)):  # a position counted from the end is called "-2"
        if one in there:
            return there.index(one)
    names = ", ".join(map(str, there)) or "none"
    verb = READ.get(axis) or DONE.get(owner) or VERBS.get(axis, "there")
    raise ValueError(f"{owner}: {axis} {label!r} was not {verb}; there are {names}.")


def joined(parts: Sequence[Effects], axis: str) -> Effects:
    """Effects of the same runs at other labels of one axis that counts, as one, ascending."""
    first, labels = parts[0], [label for part in parts for label in part.coords[axis]]
    order = np.argsort(labels, kind="stable").tolist()
    at = first.dims.index(axis)
    return replace(
        first,
        coords={**first.coords, axis: tuple(labels[i] for i in order)},
        values=torch.cat([part.values for part in parts], dim=at).index_select(
            at, torch.tensor(order)
        ),
        floor=tuple(max(floors) for floors in zip(*(part.floor for part in parts), strict=True)),
    )


def axes_in_order(axes: Iterable[str]) -> tuple[str, ...]:
    """Axes with the pair in its place: behind what was run, in front of where."""
    named = tuple(axes)
    return (*(a for a in named if a not in WHERE), "pair", *(a for a in named if a in WHERE))


def _columns(axis: str, labels: np.ndarray, stream: str, n_layers: int) -> dict[str, np.ndarray]:
    """The columns of one axis: its labels, or where along the depth they are."""
    if axis not in ALONG:
        return {axis: labels}
    return depth_columns(labels, n_layers, stream=stream, name=axis)
