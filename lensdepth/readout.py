"""From residual states to logits, by the model's own final norm, unembedding, bias, cap, scale.

Held once against the model's own logits: an architecture that does something else between its
last block and its logits is refused, never read wrongly.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.finite import NotFinite, advice, all_finite, first_row
from lensdepth.passes import Passes
from lensdepth.tokens import TokenBatch
from lensdepth.turns import as_it_is

TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest accepted error of the readout at depth L against the model's own logits, as a share of
the largest logit; 1e-5 in float32 and wider."""


class Readout:
    """The end of one model.

    Args:
        passes: of the model.
    """

    def __init__(self, passes: Passes) -> None:
        self.passes = passes
        self.last_hook = passes.depth_hooks[-1]
        self._checked: tuple[torch.device, torch.dtype, int] | None = None
        # Where columns of the unembedding cannot be had one by one, all are read and some picked.
        self.columns_fit = passes.unembeds_by_matrix

    def read(
        self, resid: Tensor, columns: Tensor | None, *, grad: bool, linear: bool
    ) -> Float[Tensor, "..."]:
        """See `DepthModel.readout`.

        Raises:
            ValueError: states of another width, a token id out of range, or numbers that are not
                finite (`NotFinite`).
            RuntimeError: as `check`.
        """
        d_model, d_vocab = self.passes.d_model, self.passes.d_vocab
        if resid.shape[-1] != d_model:
            raise ValueError(
                f"readout: the last axis of resid must be d_model, {d_model}, got shape "
                f"{list(resid.shape)}."
            )
        if columns is not None and ((columns < 0) | (columns >= d_vocab)).any():
            raise ValueError(
                f"readout: columns must be token ids 0...{d_vocab - 1}, got "
                f"{int(columns.min())} to {int(columns.max())}."
            )
        self.check()
        return self.unchecked(resid, columns, grad=grad, linear=linear)

    def unchecked(
        self,
        resid: Tensor,
        columns: Tensor | None = None,
        *,
        grad: bool = False,
        linear: bool = False,
    ) -> Float[Tensor, "..."]:
        """The same, of which nobody knows yet whether the model's own logits are those.

        Raises:
            NotFinite: logits are NaN or infinite.
        """
        with torch.set_grad_enabled(grad):
            if columns is not None and not self.columns_fit:
                whole = self._logits(resid, linear=linear)
                logits = whole.gather(-1, columns.to(resid.device))
            else:
                logits = self._logits(resid, columns, linear=linear)
        if not all_finite(logits):
            row = first_row(rearrange(logits, "... column -> (...) column"))
            what = "the logits of finite states are not finite"
            if not all_finite(resid):
                what = "the states to be read hold NaN or infinite numbers"
            dtype = str(self.passes.dtype).removeprefix("torch.")
            raise NotFinite(
                f"readout: in {dtype} {what}, the first at state {row} of "
                f"{resid.shape[:-1].numel()}. {advice(self.passes.dtype)}",
                row=row,
            )
        return logits

    def unembedding(
        self,
    ) -> tuple[Float[Tensor, "d_vocab d_model"], Float[Tensor, " d_vocab"] | None]:
        """See `DepthModel.unembedding`.

        Raises:
            ValueError: the model reads its logits by something that is no plain matrix.
        """
        if not self.columns_fit:
            raise ValueError(
                f"unembedding: {self.passes.name!r} reads its logits by something other than one "
                f"matrix and a bias, so they cannot be split into parts."
            )
        return self.passes.unembedding()

    def check(self) -> None:
        """Compare with the model's own logits, once while it stays as it is.

        Edits that stand here have no say in it.

        Raises:
            RuntimeError: they differ.
        """
        if self._checked == self.passes.state:
            return
        passes, name = self.passes, self.passes.name
        state_of_model = passes.state
        length = min(4, passes.n_ctx)
        tokens = (torch.arange(length) * 7919 % passes.d_vocab)[None]
        everywhere = torch.arange(length)[None]
        batch = TokenBatch(tokens=tokens, lengths=torch.tensor([length]))
        with as_it_is():
            state = passes.capture(batch, [self.last_hook], everywhere)[self.last_hook]
        with torch.no_grad(), as_it_is(), passes.at_work():
            own = passes.forward(tokens.to(passes.device)).float()
            whole = self._logits(state)
            some = tokens[..., None].expand(1, length, 2)
            by_columns = passes.unembeds_by_matrix
            part = self._logits(state, some) if by_columns else whole
        # Of a model that overflows on some tokens, the others tell as much.
        there = own.isfinite().all(-1)
        if not there.any():
            raise NotFinite(
                f"readout: {name!r} gives logits that are not finite at every token of a probe. "
                f"{advice(passes.dtype)}"
            )
        own, whole, part, some = (x[there] for x in (own, whole, part, some.to(own.device)))
        tolerance = TOLERANCE.get(passes.dtype, 1e-5) * own.abs().max().clamp_min(1.0)
        error = (whole - own).abs().max()
        if not error <= tolerance:
            raise RuntimeError(
                f"readout: the final norm and unembedding of {name!r} give logits that differ "
                f"from the model's own by {float(error):.1e}, where {float(tolerance):.1e} is "
                f"allowed: this architecture does something between them that lensdepth does not "
                f"know."
            )
        if by_columns:
            self.columns_fit = bool((part - own.gather(-1, some)).abs().max() <= tolerance)
        self._checked = state_of_model

    def _logits(
        self, resid: Tensor, columns: Tensor | None = None, *, linear: bool = False
    ) -> Tensor:
        passes, model = self.passes, self.passes.model
        with passes.at_work():
            norm = getattr(model, "ln_final", None)
            # Of a model on several devices they may lie elsewhere than its embedding.
            first, last = (passes.device_of(part) for part in (norm, model.unembed))
            states = resid.to(device=first, dtype=passes.dtype)
            states = rearrange(states, "... d_model -> 1 (...) d_model")
            if norm is not None:
                states = norm(states)
            states = states.to(last)
            if columns is None:
                logits = model.unembed(states)
            else:
                ids = rearrange(columns.to(last), "... column -> (...) column")
                logits = self._columns(states[0], ids)[None]
            logits = logits.to(torch.promote_types(passes.dtype, torch.float32))
            if not linear:
                logits = passes.after_unembedding(logits)
            shape = (*resid.shape[:-1], logits.shape[-1])
            return logits.reshape(shape).to(device=resid.device, dtype=torch.float32)

    def _columns(
        self, states: Float[Tensor, "state d_model"], ids: Int[Tensor, "state column"]
    ) -> Float[Tensor, "state column"]:
        weight, bias = self.passes.unembedding()
        logits = torch.einsum("sd,scd->sc", states, weight[ids])
        return logits if bias is None else logits + bias[ids]
