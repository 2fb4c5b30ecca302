"""What a sweep is told to do, checked before anything runs: depths, scopes, streams, heads."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from lensdepth.model import DepthModel
from lensdepth.site import STREAMS, Site, Stream, last_place, site_hook

Scope = Literal["local", "suffix", "prefix", "all"]
"""Which depths one run edits: `local` this one alone; globally `suffix` from this one on, `prefix`
up to this one, `all` of them."""


def check_depths(depths: object, n_layers: int, *, caller: str) -> list[int]:
    """The asked depths, or all of 0 ... n_layers where they are None or "all".

    Raises:
        ValueError: they are no list of whole numbers, one lies outside that range or stands twice,
            or there is none at all.
    """
    if depths is None or depths == "all":
        return list(range(n_layers + 1))
    asked: list[int] = list(depths) if isinstance(depths, Iterable) else []
    fit = all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d <= n_layers for d in asked)
    if not asked or not fit or len(set(asked)) < len(asked):
        raise ValueError(
            f"{caller}: depths must lie between 0 and {n_layers} (n_layers) and be a list of "
            f"different whole numbers, got {depths!r}."
        )
    return asked


def scope_depths(scope: Scope, depth: int, n_layers: int) -> list[int]:
    """The depths that one run of this scope edits, ascending."""
    first = depth if scope in ("local", "suffix") else 0
    last = depth if scope in ("local", "prefix") else n_layers
    return list(range(first, last + 1))


def check_scopes(scopes: Sequence[str], *, caller: str) -> tuple[Scope, ...]:
    """The asked scopes, each once.

    Raises:
        ValueError: one of them is none, or there is none at all.
    """
    known = get_args(Scope)
    wrong = [scope for scope in scopes if scope not in known]
    if isinstance(scopes, str) or wrong or not scopes:
        raise ValueError(f"{caller}: scopes must be some of {', '.join(known)}, got {scopes!r}.")
    return tuple(dict.fromkeys(scopes))  # type: ignore[arg-type]


def check_edits(
    edits: Sequence[str] | None, there: Sequence[str], *, caller: str
) -> tuple[str, ...]:
    """The edits that are run, in their order: all, or those that are asked for.

    Raises:
        ValueError: none is asked for, or one that there is not.
    """
    if edits is None:
        return tuple(there)
    odd = [name for name in edits if name not in there]
    if isinstance(edits, str) or odd or not edits:
        raise ValueError(
            f"{caller}: edits must be a list of some of {', '.join(there)}, got {edits!r}."
        )
    return tuple(name for name in there if name in edits)


def check_stream(model: DepthModel, stream: str, *, caller: str) -> None:
    """Say which streams there are, and whether the weights are numbers.

    Raises:
        ValueError: the stream is none, or not of this architecture; or a weight is NaN.
    """
    if stream not in STREAMS:
        raise ValueError(f"{caller}: stream must be one of {', '.join(STREAMS)}, got {stream!r}.")
    there = [name for name in STREAMS if site_hook(name, 0) in model.hook_points]
    if stream not in there:
        raise ValueError(
            f"{caller}: {model.info.architecture} has no {stream}; it has {', '.join(there)}."
        )
    model.check_weights()


def stream_sites(
    model: DepthModel, stream: Stream, depths: Sequence[int] | str | None, *, caller: str
) -> list[Site]:
    """The sites of a stream: depths 0 ... L of the residual stream, else blocks 0 ... L - 1."""
    given = depths if depths is None or isinstance(depths, str) else list(depths)
    asked = check_depths(given, last_place(stream, model.n_layers), caller=caller)
    return [Site(stream, place) for place in asked]


def check_heads(
    model: DepthModel, stream: str, heads: Sequence[int] | str | None, *, caller: str
) -> tuple[int, ...]:
    """The heads to patch one by one; none where all of a stream goes together.

    Raises:
        ValueError: heads of another stream than `z`, or one that is not there.
    """
    if heads is None:
        return ()
    n_heads = model.info.n_heads
    asked = tuple(range(n_heads)) if heads == "all" else heads
    if stream != "z":
        raise ValueError(f"{caller}: heads are patched at stream='z', got {stream!r}.")
    if isinstance(asked, str) or not asked or not all(0 <= h < n_heads for h in asked):
        raise ValueError(f"{caller}: heads must lie in 0...{n_heads - 1} or be 'all', got {heads}.")
    return tuple(asked)
