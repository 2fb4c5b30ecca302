"""Where a model is read or edited: the one place that knows TransformerLens's hook names.

A site is a stream, a place in it, and at `z` perhaps one head. The residual stream between blocks
(`resid_pre`) is counted in depths 0 ... L, everything inside a block in blocks 0 ... L - 1; each
site also has the depth after it, which is where figures draw it and what `depth` means in tables.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from lensdepth.arguments import checked
from lensdepth.telling.names import has_blocks

Stream = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z"]
STREAMS: tuple[Stream, ...] = get_args(Stream)
INSIDE: tuple[Stream, ...] = ("resid_mid", "attn_out", "mlp_out", "z")
"""Streams inside a block; an edit there needs the block itself."""
_HOOK = re.compile(r"blocks\.(\d+)\.(?:hook_(\w+)|attn\.hook_(z))$")


@checked
def site_hook(stream: Stream, layer: int) -> str:
    """Hook name of a stream in one block.

    Raises:
        ValueError: there is no such stream.
    """
    if stream not in STREAMS:
        raise ValueError(f"site_hook: stream must be one of {', '.join(STREAMS)}, got {stream!r}.")
    return f"blocks.{layer}.attn.hook_z" if stream == "z" else f"blocks.{layer}.hook_{stream}"


@checked
def depth_hook(depth: int, n_layers: int) -> str:
    """Hook name of a residual state: depth 0 enters block 0, depth d leaves block d - 1.

    Raises:
        ValueError: there is no such depth.
    """
    if not 0 <= depth <= n_layers:
        raise ValueError(f"depth_hook: depth must lie in 0...{n_layers}, got {depth}.")
    return site_hook("resid_pre", 0) if depth == 0 else site_hook("resid_post", depth - 1)


def pattern_hook(layer: int) -> str:
    """Hook name of a block's attention probabilities."""
    return f"blocks.{layer}.attn.hook_pattern"


@dataclass(frozen=True)
class Site:
    """A stream and a place in it: a depth of `resid_pre`, a block of any other stream."""

    stream: Stream
    place: int
    head: int | None = None
    """At `z`, one head; None for all of them side by side."""

    @property
    def hook(self) -> str:
        """Its hook name; depths behind the first are what the block before them leaves."""
        if self.stream == "resid_pre" and self.place:
            return site_hook("resid_post", self.place - 1)
        return site_hook(self.stream, self.place)

    @property
    def depth(self) -> int:
        """The first residual depth that an edit here changes."""
        return depth_after(self.stream, self.place)


def depth_after(stream: str, place: int) -> int:
    """The residual depth at, or first behind, a place in a stream."""
    return place + has_blocks(stream)


def last_place(stream: str, n_layers: int) -> int:
    """The largest place in a stream: depth L, or block L - 1."""
    return n_layers - has_blocks(stream)


@dataclass(frozen=True)
class BlockSite:
    """A hook by the block that it stands in, as the engine runs blocks."""

    layer: int
    stream: str

    @property
    def joins(self) -> int:
        """Depth from whose states on an edit here needs a replay."""
        return self.layer + 1 if self.stream == "resid_post" else self.layer


def block_site(hook: str) -> BlockSite | None:
    """The block and stream of a hook name; None for hooks that are no stream's."""
    found = _HOOK.match(hook)
    if found is None:
        return None
    stream = found[2] or found[3]
    return BlockSite(int(found[1]), stream) if stream in STREAMS else None


def is_z(hook: str) -> bool:
    """Whether a hook holds the heads' outputs side by side."""
    site = block_site(hook)
    return site is not None and site.stream == "z"
