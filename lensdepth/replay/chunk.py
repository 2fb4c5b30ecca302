"""Some runs on their way through the blocks, packed into one sequence."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.replay.attention import AttentionRule, Group, attend
from lensdepth.replay.base import BaseRun
from lensdepth.replay.blocks import Blocks
from lensdepth.replay.runs import PackedEdit, Runs, apply_packed, group_runs
from lensdepth.site import site_hook

WHOLE_BLOCK_SHARE = 0.5
"""Above this share of asked tokens the last block runs whole: asking twice would cost more."""


class _KeysAndValues(BaseException):
    """Ends a block as soon as its keys and values are known."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self.k, self.v = k, v


class Chunk:
    """Runs that go through the blocks together.

    Args:
        blocks: of the model; what is inside a block calls `change` with its activations.
        base: the recorded base run.
        runs: in packed order, those that join earlier first.
        edits: of these runs, by hook.
        read: for each run the positions that are read, -1 for none; on the CPU.
        device: of the model.
    """

    def __init__(
        self,
        blocks: Blocks,
        base: BaseRun,
        runs: Runs,
        edits: dict[str, list[PackedEdit]],
        read: Int[Tensor, "run pos"],
        device: torch.device,
    ) -> None:
        self.fired: set[str] = set()
        self._blocks, self._base, self._runs, self._edits = blocks, base, runs, edits
        self._device = device
        # A position before the run's first one is the base run's: its place is any of the run's.
        asked = torch.maximum(read, runs.starts[:, None])
        self._asked = asked
        self._asked_tokens = (runs.offsets[:, None] + asked - runs.starts[:, None]).to(device)
        self._read = read.clamp(min=0).to(device)
        self._held = (read >= runs.starts[:, None]).to(device)[..., None]
        self._prompts = runs.prompts.to(device)
        first = (runs.starts - runs.offsets).repeat_interleave(runs.lengths)
        self._positions = (first + torch.arange(len(first))).to(device)
        self._token_prompts = self._prompts.repeat_interleave(runs.lengths.to(device))
        self._rows: Tensor | None = None

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
        states = {d: self._base.resid[d][self._prompts[:, None], self._read] for d in depths}
        x = self._token_states(int(self._runs.depths[0]), 0, 0)
        n_joined, groups, read_states = 0, [], None
        for depth in range(int(self._runs.depths[0]), last):
            n_now = int(torch.searchsorted(self._runs.depths, depth, right=True))
            if n_now > n_joined:
                x = torch.cat([x, self._token_states(depth, n_joined, n_now)])
                n_joined, groups = n_now, group_runs(self._runs[:n_now], None, self._device)
            x = self._between_blocks(depth, x)
            if depth in states:
                self._put(states[depth], x[self._asked_tokens[:n_now]])
            if depth == last - 1:
                read_states = self._last_block(depth, x, n_now, groups)
            else:
                x = self._block(depth, x, self._positions[: len(x)], groups)
        self._put(states[last], self._at_the_end(last, n_joined, read_states))
        return torch.stack([states[depth] for depth in depths], dim=1)

    def _token_states(self, depth: int, first: int, last: int) -> Float[Tensor, "token d_model"]:
        """The base states with which some runs join."""
        ends = [int(self._runs.lengths[:n].sum()) for n in (first, last)]
        tokens = slice(*ends)
        return self._base.resid[depth][self._token_prompts[tokens], self._positions[tokens]]

    def _between_blocks(self, depth: int, x: Tensor) -> Tensor:
        for hook in (site_hook("resid_post", depth - 1), site_hook("resid_pre", depth)):
            if hook in self._edits:
                self.fired.add(hook)
                x = apply_packed(x, self._edits[hook], self._rows)
        return x

    def _put(self, states: Tensor, replayed: Float[Tensor, "run pos d_model"]) -> None:
        n = len(replayed)
        states[:n] = torch.where(self._held[:n], replayed, states[:n])

    def _block(self, layer: int, x: Tensor, positions: Tensor, groups: Sequence[Group]) -> Tensor:
        def attention(_: int, q: Tensor, k: Tensor, v: Tensor, __: AttentionRule) -> Tensor:
            past = self._base.keys[layer], self._base.values[layer]
            return attend(q, k, v, *past, groups, self._base.rules[layer])

        self._blocks.attend = attention
        return self._blocks.run(layer, x, positions, self._base.recorded)

    def _last_block(
        self, layer: int, x: Tensor, n_runs: int, groups: Sequence[Group]
    ) -> Float[Tensor, "run pos d_model"]:
        """The states of the tokens that are read, after the last block that matters."""
        asked = self._asked_tokens[:n_runs]
        if asked.numel() > WHOLE_BLOCK_SHARE * len(x):
            return self._block(layer, x, self._positions[: len(x)], groups)[asked]
        own_k, own_v = self._keys_and_values(layer, x)
        groups = group_runs(self._runs[:n_runs], self._asked[:n_runs], self._device)

        def attention(_: int, q: Tensor, k: Tensor, v: Tensor, __: AttentionRule) -> Tensor:
            past = self._base.keys[layer], self._base.values[layer]
            return attend(q, own_k, own_v, *past, groups, self._base.rules[layer])

        self._blocks.attend = attention
        self._rows = self._rows_of_asked(n_runs)
        positions = self._asked[:n_runs].flatten().to(self._device)
        try:
            tokens = x[asked.flatten()]
            read = self._blocks.run(layer, tokens, positions, self._base.recorded)
            return read.view(*asked.shape, -1)
        finally:
            self._rows = None

    def _keys_and_values(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a block makes of its input before attention."""
        self._blocks.attend = _give_keys_and_values
        try:
            self._blocks.run(layer, x, self._positions[: len(x)], self._base.recorded)
        except _KeysAndValues as found:
            # The exception itself must not live on: its traceback holds the block's activations.
            return found.k, found.v
        raise RuntimeError(f"replay: block {layer} ran without its attention.")

    def _rows_of_asked(self, n_runs: int) -> Int[Tensor, " token"]:
        rows = torch.full((len(self._positions),), -1, device=self._device)
        asked = self._asked_tokens[:n_runs].flatten()
        # Several positions that a run does not hold may stand on one of its tokens.
        held = self._held[:n_runs].flatten()
        rows[asked[held]] = torch.arange(len(asked), device=self._device)[held]
        return rows

    def _at_the_end(
        self, depth: int, n_joined: int, read_states: Tensor | None
    ) -> Float[Tensor, "run pos d_model"]:
        """What is read after the edits at the last depth, those of runs that join there too."""
        late = self._base.resid[depth][self._prompts[n_joined:, None], self._read[n_joined:]]
        x = late if read_states is None else torch.cat([read_states, late])
        self._rows = self._rows_of_asked(len(self._runs))
        try:
            return self._between_blocks(depth, x.flatten(0, 1)).view_as(x)
        finally:
            self._rows = None


def _give_keys_and_values(
    layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule
) -> Tensor:
    raise _KeysAndValues(k, v)
