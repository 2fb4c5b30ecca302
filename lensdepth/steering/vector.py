"""Steering vectors that travel: what is added (or turned towards), where, and on which model.

A `SteeringVector` is an edit as data, saved like any result. It says of itself what it takes to
apply it elsewhere: the edit by name and strength, its vectors, the stream with depths and hooks,
the positions, the coordinates, and the model with its fingerprint. `apply_vector` lets it act on
the model that it was made on; another one must be asked for.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.coordinates import coordinates_of
from lensdepth.edits import strong_edit
from lensdepth.fingerprints import fingerprint
from lensdepth.hooks import check_hook
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.polar import Edit
from lensdepth.provenance import ModelInfo, Provenance, make_provenance
from lensdepth.site import Site, Stream, depth_after, last_place
from lensdepth.standing import StandingEdit, standing_edits, steered
from lensdepth.steering.parts import STRONGEST
from lensdepth.storage import ModelResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

VECTOR_EDITS = ("add", "full", "direction", "norm", "reflect", "rotate")
"""`add`, and those of `lensdepth.EDITS` that refer to one state."""
RESIDUAL = ("resid_pre", "resid_mid", "resid_post")
VectorPositions = Literal["all"] | tuple[int, ...]
VectorCoordinates = Literal["raw", "final_norm"]


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringVector(ModelResult):
    """An edit with its vectors and its site, to be applied while a model runs.

    Saved as one safetensors file: `vector` as a tensor, all else as JSON in the header.
    """

    MADE_BY: ClassVar[str] = "difference_vector(model, base, source, depths=[3])"
    """The call that makes one."""

    provenance: Provenance
    """Of the vectors; its model, with fingerprint, `d_model` and `n_layers`, is the one that they
    belong to."""
    edit: str
    """`add`: the state plus strength times the vector; or one of `lensdepth.EDITS`, with the vector
    as source."""
    strength: float
    """Factor of the vector for `add`, else in the unit that `lensdepth.EDITS` gives."""
    vector: Float[Tensor, "depth d_source"]
    """One a depth, at its own length: in the model's units, nothing normalised."""
    stream: Stream
    """What is edited."""
    depths: tuple[int, ...]
    """Depths 0 ... L at `resid_pre`, blocks 0 ... L - 1 at other streams."""
    head: int | None
    """At `z`, the one head; None for all of them side by side."""
    positions: VectorPositions
    """Which tokens of every text, from its start, those that are written included."""
    coordinates: VectorCoordinates
    """What of the state is edited: all of it, or what the final norm sees of it
    (`lensdepth.coordinates`)."""
    hooks: tuple[str, ...]
    """Where that is in the model, as TransformerLens names it: depth d is the output of block
    d - 1, `blocks.{d-1}.hook_resid_post`."""
    relative_depths: tuple[float, ...]
    """The first residual depth that each edit changes, as a share of L."""

    def __post_init__(self) -> None:
        vector_edit(self.edit, self.strength, caller="SteeringVector")
        last, d_model = last_place(self.stream, self.n_layers), self.provenance.model.d_model
        n_vectors, d_source = self.vector.shape
        asked = self.depths
        within = all(0 <= depth <= last for depth in asked) and self.n_layers > 0
        everywhere = self.positions == "all"
        needed = {
            f"depths within 0...{last}, each once, got {list(asked)}": (
                asked and len(set(asked)) == len(asked) and within
            ),
            f"one vector a depth, got {n_vectors} for {len(asked)} depths": n_vectors == len(asked),
            f"vectors of d_model {d_model}, got {d_source}": (
                self.stream == "z" or d_source == d_model
            ),
            "vectors that are finite": self.vector.isfinite().all(),
            f"a head at stream 'z' alone, got {self.head} at {self.stream!r}": (
                self.head is None or (self.stream == "z" and self.head >= 0)
            ),
            f"positions from the start of a text, got {self.positions!r}": (
                everywhere or (self.positions and min(self.positions) >= 0)  # type: ignore[type-var]
            ),
            "coordinates 'final_norm' at the residual stream alone": (
                self.coordinates == "raw" or self.stream in RESIDUAL
            ),
        }
        for need, fits in needed.items():
            if not fits:
                raise ValueError(f"SteeringVector: it needs {need}.")
        if (self.hooks, self.relative_depths) != places(self.stream, self.depths, self.n_layers):
            raise ValueError(
                f"SteeringVector: hooks or relative_depths are not those of depths "
                f"{list(self.depths)} of {self.n_layers}."
            )

    @property
    def function(self) -> Edit:
        """The edit itself, as `DepthModel.steer` takes it."""
        function = vector_edit(self.edit, self.strength, caller="SteeringVector")[1]
        info = self.provenance.model
        return coordinates_of(self.coordinates, info.normalization).edit(function)

    @checked
    def moved_to(
        self,
        model: DepthModel,
        *,
        depth_map: Mapping[int, int] | None = None,
        allow_other_model: bool = False,
    ) -> "SteeringVector":
        """The same vectors as those of another model, or at other depths.

        Whether they mean anything there is for you to find out: a model that was trained on from
        the same weights keeps much of its directions, one trained by itself does not.

        Args:
            model: where they shall act.
            depth_map: depth here -> depth there, for all of `depths` (blocks at other streams than
                `resid_pre`); None leaves them.
            allow_other_model: take them to other weights, too.
        Raises:
            ValueError: another width, other weight processing, another model where that is not
                allowed, another number of blocks without a `depth_map`, or no such site.
        """
        return moved(self, model, depth_map, allow_other_model, caller="SteeringVector.moved_to")

    def standing(self, model: DepthModel) -> list[StandingEdit]:
        """The edits to let act on the model that these vectors belong to, one a depth."""
        return standing_edits(
            model.passes,
            self.function,
            self.depths,
            self.positions,
            self.vector,
            self.stream,
            self.head,
        )

    def described(self) -> dict[str, Any]:
        """What the provenance of a result that uses this vector says of it."""
        made = self.provenance
        return {
            "fingerprint": fingerprint({"vector": self.vector}),
            "analysis": made.analysis,
            "created": made.created,
            "positions": "all" if self.positions == "all" else list(self.positions),
            "coordinates": self.coordinates,
            "settings": made.settings,
        }

    def to_layer_activations(self) -> dict[int, Tensor]:
        """Block -> what is added to its output: `layer_activations` of steering-vectors.

        See `lensdepth.steering.foreign`.

        Raises:
            ValueError: it is no adding to the outputs of blocks at every token.
        """
        from lensdepth.steering.foreign import layer_activations

        return layer_activations(self, caller="SteeringVector.to_layer_activations")

    @checked
    def to_repeng(self, path: str | Path, *, model_hint: str | None = None) -> None:
        """Write a GGUF file as repeng's `ControlVector.export_gguf` does.

        See `lensdepth.steering.foreign`.

        Args:
            path: of the file.
            model_hint: the model's `model_type`; None takes the one of its architecture.
        Raises:
            ValueError: it is no adding to the outputs of blocks at every token, gguf is not
                installed, or no type is known for the model's architecture.
            OSError: the file cannot be written.
        """
        from lensdepth.steering.foreign import write_repeng

        write_repeng(self, path, model_hint)

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth: what is done there, and the norm of the vector."""
        import pandas as pd

        depths = [depth_after(self.stream, place) for place in self.depths]
        return pd.DataFrame(
            {
                "edit": self.edit,
                "strength": self.strength,
                "stream": self.stream,
                "head": pd.array([self.head] * len(depths), dtype="Int64"),
                "hook": self.hooks,
                "depth": depths,
                "relative_depth": self.relative_depths,
                "vector_norm": polar.norm(self.vector).numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Norm of the vector by depth."""
        from lensdepth import plotting

        frame = self.to_frame().sort_values("depth")
        curve = plotting.Curve.from_interval(
            "norm of the vector", frame["vector_norm"], role="lens", depths=frame["depth"]
        )
        model = self.provenance.model
        return plotting.depth_figure(
            [curve],
            n_layers=model.n_layers,
            title=f"Steering vector of {model.name}",
            y_title="norm of the vector",
        )


def vector_edit(name: str, strength: float | None, *, caller: str) -> tuple[float, Edit]:
    """An edit by a vector, and its strength: its own default where none is given.

    Raises:
        ValueError: there is no such edit, or its strength is out of range.
    """
    if name not in VECTOR_EDITS:
        raise ValueError(f"{caller}: edit must be one of {', '.join(VECTOR_EDITS)}, got {name!r}.")
    if name != "add":
        return strong_edit(name, strength, caller=caller)
    value = 1.0 if strength is None else float(strength)
    if not abs(value) <= STRONGEST:
        raise ValueError(
            f"{caller}: strength must be a number between -{STRONGEST:g} and {STRONGEST:g}, got "
            f"{strength!r}."
        )
    return value, polar.add(value)


def places(
    stream: Stream, depths: tuple[int, ...], n_layers: int
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Hooks and relative depths of these depths."""
    hooks = tuple(Site(stream, depth).hook for depth in depths)
    return hooks, tuple(depth_after(stream, depth) / n_layers for depth in depths)


@contextmanager
@checked
def apply_vector(
    model: DepthModel,
    vector: SteeringVector,
    *,
    strength: float | None = None,
    depth_map: Mapping[int, int] | None = None,
    allow_other_model: bool = False,
) -> Iterator[DepthModel]:
    """Let a steering vector act in every forward pass of the model, until the context is left.

        >>> with apply_vector(model, load("june.safetensors")) as steered:
        ...     steered.generate("two months from January is")

    As `DepthModel.steer`, with everything taken from the vector.

    Args:
        model: the one that the vector belongs to, unless another is allowed.
        vector: what `steering_vector`, `difference_vector`, `centroid_vector` or `load` gave.
        strength: in place of the vector's own.
        depth_map: as for `SteeringVector.moved_to`, like `allow_other_model`.
    Raises:
        ValueError: as `SteeringVector.moved_to`; before anything is attached.
        RuntimeError: on leaving, forward passes ran and the edit never acted.
    """
    caller = "apply_vector"
    if strength is not None:
        vector_edit(vector.edit, strength, caller=caller)
        vector = replace(vector, strength=float(strength))
    edits = moved(vector, model, depth_map, allow_other_model, caller=caller).standing(model)
    model.ending.check()  # of the model as it is
    with steered(model, edits):
        yield model


def moved(
    vector: SteeringVector,
    model: DepthModel,
    depth_map: Mapping[int, int] | None,
    allow_other_model: bool,
    *,
    caller: str,
) -> SteeringVector:
    """See `SteeringVector.moved_to`; the vector itself where it belongs to this model already."""
    own, info = vector.provenance.model, model.info
    always = ["d_model", "weights", *["normalization"] * (vector.coordinates == "final_norm")]
    for what in always:
        if getattr(own, what) != getattr(info, what):
            raise ValueError(
                f"{caller}: {_both(own, info, what)}; a vector goes to no model of another {what}."
            )
    other = [w for w in ("n_layers", "fingerprint", "configuration") if _differ(own, info, w)]
    if other and not allow_other_model:
        raise ValueError(
            f"{caller}: {_both(own, info, other[0])}; allow_other_model=True takes the vector "
            f"there all the same."
        )
    if "n_layers" in other and depth_map is None:
        raise ValueError(
            f"{caller}: {_both(own, info, 'n_layers')}; say by depth_map={{depth here: depth "
            f"there}} where its {_places(vector)} are there."
        )
    depths = vector.depths
    if depth_map is not None:
        if set(depth_map) != set(depths):
            raise ValueError(
                f"{caller}: depth_map must name each of the vector's {_places(vector)} once, got "
                f"{sorted(depth_map)}."
            )
        depths = tuple(depth_map[depth] for depth in depths)
        last = last_place(vector.stream, info.n_layers)
        if len(set(depths)) < len(depths) or not all(0 <= depth <= last for depth in depths):
            raise ValueError(
                f"{caller}: depth_map must lead each of the vector's {_places(vector)} to another "
                f"one within 0...{last} of {shown(info.name)}, got {list(depths)}."
            )
    hooks, relative = places(vector.stream, depths, info.n_layers)
    for hook in hooks:
        check_hook(model.hook_points, hook)
        model.passes.check_head(hook, vector.head, caller)
    d_source, found = model.passes.d_hook(hooks[0], vector.head), vector.vector.shape[1]
    if found != d_source:
        raise ValueError(
            f"{caller}: the vector's states at {hooks[0]!r} have {found} numbers, and those of "
            f"{shown(info.name)} have {d_source}."
        )
    if not other and depths == vector.depths:
        return vector
    made = vector.provenance
    return replace(
        vector,
        provenance=make_provenance(
            made.analysis,
            info,
            task=made.task,
            prompts=made.prompts,
            settings={
                **made.settings,
                "moved_from": {
                    "name": own.name,
                    "fingerprint": own.fingerprint,
                    "n_layers": own.n_layers,
                    "depths": list(vector.depths),
                },
            },
            seed=made.seed,
        ),
        depths=depths,
        hooks=hooks,
        relative_depths=relative,
    )


def _differ(own: ModelInfo, info: ModelInfo, what: str) -> bool:
    return getattr(own, what) not in (getattr(info, what), "")


def _both(own: ModelInfo, info: ModelInfo, what: str) -> str:
    """What the vector's model and this one are, side by side."""
    return (
        f"the vector belongs to {shown(own.name)} with {what} {shown(getattr(own, what))}, and "
        f"{shown(info.name)} has {shown(getattr(info, what))}"
    )


def _places(vector: SteeringVector) -> str:
    kind = "depths" if vector.stream == "resid_pre" else "blocks"
    return f"{kind} {', '.join(map(str, vector.depths))}"
