"""Some runs on their way through the blocks, packed into one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.replay.attention import AttentionRule, Group
from lensdepth.replay.base import BaseRun
from lensdepth.replay.blocks import Blocks
from lensdepth.replay.fused import Attending, Spans, spans_of
from lensdepth.replay.runs import PackedEdit, Runs, apply_packed, group_runs
from lensdepth.sending import sent
from lensdepth.site import site_hook

RAGGED = {"cuda"}
"""Devices on which runs of different starts attend together: more to compute, in fewer kernels."""
RAGGED_TOKENS = 256
"""Longest prompts of which they do; longer ones keep a device busy, and take memory."""
WHOLE_BLOCK_SHARE = 0.5
"""Above this share of asked tokens the last block runs whole: asking twice would cost more."""


class _KeysAndValues(BaseException):
    """Ends a block as soon as its keys and values are known."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self.k, self.v = k, v


class Chunk:
    """Runs that go through the blocks together.

    States are where their block is, and go from device to device with the blocks; what says which
    of them are meant is made on the CPU, and sent to each device once.

    Args:
        blocks: of the model; what is inside a block calls `change` with its activations.
        base: the recorded base run.
        runs: in packed order, those that join earlier first.
        edits: of these runs, by hook.
        read: for each run the positions that are read, -1 for none; on the CPU.
    """

    def __init__(
        self,
        blocks: Blocks,
        base: BaseRun,
        runs: Runs,
        edits: dict[str, list[PackedEdit]],
        read: Int[Tensor, "run pos"],
    ) -> None:
        self.fired: set[str] = set()
        self._blocks, self._base, self._runs, self._edits = blocks, base, runs, edits
        # A position before the run's first one is the base run's: its place is any of the run's.
        self._asked = torch.maximum(read, runs.starts[:, None])
        self._holds = read >= runs.starts[:, None]
        self._at = runs.offsets[:, None] + self._asked - runs.starts[:, None]
        self._sent: dict[torch.device, _Places] = {}
        first = (runs.starts - runs.offsets).repeat_interleave(runs.lengths)
        self._here = _Places(
            asked_tokens=self._at,
            read=read.clamp(min=0),
            held=self._holds[..., None],
            prompts=runs.prompts,
            positions=first + torch.arange(len(first)),
            token_prompts=runs.prompts.repeat_interleave(runs.lengths),
        )
        self._rows: Tensor | None = None

    def _places(self, x: Tensor) -> "_Places":
        """Which states are meant, where these ones are."""
        if x.device not in self._sent:
            self._sent[x.device] = self._here.on(x.device)
        return self._sent[x.device]

    def change(self, hook: str, x: Tensor) -> Tensor:
        """The activation `[1, token, ...]` at a hook inside a block, after this chunk's edits.

        Some blocks flatten batch and position, as OPT's do before its MLP: `[token, ...]`.
        """
        if hook not in self._edits:
            return x
        self.fired.add(hook)
        packed = x[0] if x.ndim > 2 else x
        return apply_packed(packed, self._edits[hook], self._rows).view_as(x)

    def resid(self, depths: Sequence[int]) -> Float[Tensor, "run depth pos d_model"]:
        """Replay the runs; their residual states at some depths, at the positions that are read."""
        last = max(depths)
        states = {d: self._read_of_base(d, 0) for d in depths}
        x = self._token_states(int(self._runs.depths[0]), 0, 0)
        n_joined, read_states = 0, None
        attending = self._attending(0, None)
        for depth in range(int(self._runs.depths[0]), last):
            x = x.to(self._blocks.device_at(depth))
            n_now = int(torch.searchsorted(self._runs.depths, depth, right=True))
            if n_now > n_joined:
                x = torch.cat([x, self._token_states(depth, n_joined, n_now)])
                n_joined, attending = n_now, self._attending(n_now, None)
            x = self._between_blocks(depth, x)
            if depth in states:
                self._put(states[depth], x[self._places(x).asked_tokens[:n_now]])
            if depth == last - 1:
                read_states = self._last_block(depth, x, n_now, attending)
            else:
                x = self._block(depth, x, attending)
        self._put(states[last], self._at_the_end(last, n_joined, read_states))
        where = states[last].device
        return torch.stack([states[depth].to(where) for depth in depths], dim=1)

    def _attending(self, n_runs: int, asked: Int[Tensor, "run pos"] | None) -> Attending:
        """The runs that have joined, as they attend."""
        # What stands for nothing may be NaN, of which gradients would know.
        there = self._blocks.device_at(0).type in RAGGED and not torch.is_grad_enabled()
        runs = self._runs[:n_runs]

        def groups() -> list[Group]:
            ragged = there and int(runs.stops.max()) <= RAGGED_TOKENS
            return group_runs(runs, asked, ragged=ragged)

        def spans() -> Spans:
            return spans_of(runs.prompts, runs.starts, runs.stops)

        return Attending(groups, spans if asked is None else None)

    def _read_of_base(self, depth: int, first: int) -> Float[Tensor, "run pos d_model"]:
        """What is read of the base run, for each run from the first one on."""
        kept = self._base.resid[depth]
        places = self._places(kept)
        return kept[places.prompts[first:, None], places.read[first:]]

    def _token_states(self, depth: int, first: int, last: int) -> Float[Tensor, "token d_model"]:
        """The base states with which some runs join."""
        ends = [int(self._runs.lengths[:n].sum()) for n in (first, last)]
        tokens, kept = slice(*ends), self._base.resid[depth]
        places = self._places(kept)
        return kept[places.token_prompts[tokens], places.positions[tokens]]

    def _between_blocks(self, depth: int, x: Tensor) -> Tensor:
        for hook in (site_hook("resid_post", depth - 1), site_hook("resid_pre", depth)):
            if hook in self._edits:
                self.fired.add(hook)
                x = apply_packed(x, self._edits[hook], self._rows)
        return x

    def _put(self, states: Tensor, replayed: Float[Tensor, "run pos d_model"]) -> None:
        n = len(replayed)
        states[:n] = torch.where(self._places(states).held[:n], replayed, states[:n])

    def _block(self, layer: int, x: Tensor, attending: Attending) -> Tensor:
        def attention(_: int, q: Tensor, k: Tensor, v: Tensor, __: AttentionRule) -> Tensor:
            past = self._base.keys[layer], self._base.values[layer]
            return attending.attend(q, k, v, *past, self._base.rules[layer])

        self._blocks.attend = attention
        positions = self._places(x).positions[: len(x)]
        return self._blocks.run(layer, x, positions, self._base.recorded)

    def _last_block(
        self, layer: int, x: Tensor, n_runs: int, attending: Attending
    ) -> Float[Tensor, "run pos d_model"]:
        """The states of the tokens that are read, after the last block that matters."""
        asked = self._places(x).asked_tokens[:n_runs]
        if asked.numel() > WHOLE_BLOCK_SHARE * len(x):
            return self._block(layer, x, attending)[asked]
        own_k, own_v = self._keys_and_values(layer, x)
        attending = self._attending(n_runs, self._asked[:n_runs])

        def attention(_: int, q: Tensor, k: Tensor, v: Tensor, __: AttentionRule) -> Tensor:
            past = self._base.keys[layer], self._base.values[layer]
            return attending.attend(q, own_k, own_v, *past, self._base.rules[layer])

        self._blocks.attend = attention
        self._rows = self._rows_of_asked(n_runs)
        positions = sent(self._asked[:n_runs].flatten(), x.device)
        try:
            tokens = x[asked.flatten()]
            read = self._blocks.run(layer, tokens, positions, self._base.recorded)
            return read.view(*asked.shape, -1)
        finally:
            self._rows = None

    def _keys_and_values(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a block makes of its input before attention."""
        self._blocks.attend = _give_keys_and_values
        positions = self._places(x).positions[: len(x)]
        try:
            self._blocks.run(layer, x, positions, self._base.recorded)
        except _KeysAndValues as found:
            # The exception itself must not live on: its traceback holds the block's activations.
            return found.k, found.v
        raise RuntimeError(f"replay: block {layer} ran without its attention.")

    def _rows_of_asked(self, n_runs: int) -> Int[Tensor, " token"]:
        """Where each token of the packed sequence stands among those that are read; on the CPU."""
        rows = torch.full((len(self._here.positions),), -1)
        asked = self._at[:n_runs].flatten()
        # Several positions that a run does not hold may stand on one of its tokens.
        held = self._holds[:n_runs].flatten()
        rows[asked[held]] = torch.arange(len(asked))[held]
        return rows

    def _at_the_end(
        self, depth: int, n_joined: int, read_states: Tensor | None
    ) -> Float[Tensor, "run pos d_model"]:
        """What is read after the edits at the last depth, those of runs that join there too."""
        late = self._read_of_base(depth, n_joined)
        x = late if read_states is None else torch.cat([read_states.to(late.device), late])
        self._rows = self._rows_of_asked(len(self._runs))
        try:
            return self._between_blocks(depth, x.flatten(0, 1)).view_as(x)
        finally:
            self._rows = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Which states are meant, on one device."""

    asked_tokens: Int[Tensor, "run pos"]
    """Where what is read stands in the packed sequence."""
    read: Int[Tensor, "run pos"]
    """Its position in the prompt."""
    held: Bool[Tensor, "run pos 1"]
    """Whether the run holds it; if not, it is the base run's."""
    prompts: Int[Tensor, " run"]
    positions: Int[Tensor, " token"]
    token_prompts: Int[Tensor, " token"]

    def on(self, device: torch.device) -> "_Places":
        """The same on a device."""
        return _Places(**{name: sent(value, device) for name, value in vars(self).items()})


def _give_keys_and_values(
    layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule
) -> Tensor:
    raise _KeysAndValues(k, v)
