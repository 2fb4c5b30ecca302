"""What was written, and where each token was settled: the result, its tables and its figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.edits import CONTROL
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.telling.depths import depth_columns
from lensdepth.transition.commitment import standing_from

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from lensdepth.lens.figures import CellValue

BASE, EDITED = "base", "edited"
"""Runs: the model as it is, and with the edit held on; behind the latter may stand CONTROL."""
RunName = Literal["base", "edited", "edited control"]


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationProfile(ModelResult):
    """Every token of a written text by depth, of the base and of an edited run side by side.

    Entries beyond the end of a run's text are NaN, or -1 in the integer fields.
    """

    MADE_BY: ClassVar[str] = "generation_profile(model, prompt)"
    """The call that makes one."""

    provenance: Provenance
    edit: str | None
    """What was held on; None without an edit."""
    runs: tuple[str, ...]
    """`base`, and with an edit `edited`, and `edited control` where it has a random turn."""
    prompt_tokens: Int[Tensor, " prompt_token"]
    tokens: Int[Tensor, "run token"]
    """What each run wrote."""
    texts: tuple[str, ...]
    """The same as text, by run, without the prompt."""
    pieces: tuple[tuple[str, ...], ...]
    """What each token adds to its run's text; together they are that text."""
    log_prob: Float[Tensor, "run depth token"]
    """The lens's log-probability of the token written, in nats; at depth L the model's own."""
    rank: Float[Tensor, "run depth token"]
    """Tokens above it; 0 is the top."""
    entropy: Float[Tensor, "run depth token"]
    """Entropy of the lens distribution in nats."""
    kl: Float[Tensor, "run depth token"]
    """KL(final || lens) in nats; 0 at depth L."""
    final_rank: Float[Tensor, "run depth token"]
    """Tokens above the model's most likely one, which a drawn token need not be."""
    top_tokens: Int[Tensor, "run depth token top"]
    """Most likely tokens of the lens, best first."""
    top_log_probs: Float[Tensor, "run depth token top"]
    """Their log-probabilities in nats."""
    forced_kl: Float[Tensor, "run token"]
    """KL(base || run) in nats along the base's own tokens, which every run is given: 0 for the
    base. Rounding may leave a tiny negative number."""
    forced_log_prob: Float[Tensor, "run token"]
    """Each run's log-probability of the base's own tokens, in nats."""
    counterfactual: str | None = None
    """The prompt that the base's text is held against; None without one."""
    settled_by_patching: Float[Tensor, " token"] | None = None
    """First depth from which on the last token's state of the base run, put into the run behind
    that prompt and the same text, makes the token come first there. NaN where it does so anyway,
    or where the token was drawn against the model's first choice."""
    vocabulary: dict[str, str]
    """Text of every token id that occurs."""

    def index(self, run: str) -> int:
        """Where a run stands.

        Raises:
            ValueError: there is none of that name.
        """
        if run not in self.runs:
            raise ValueError(
                f"GenerationProfile: there is no run {run!r}; there are {', '.join(self.runs)}."
            )
        return self.runs.index(run)

    def text(self, token: int) -> str:
        """The text of a token id that occurs in this profile.

        Raises:
            ValueError: it does not occur.
        """
        if str(token) not in self.vocabulary:
            raise ValueError(
                f"GenerationProfile: token {token} does not occur; the text of "
                f"{len(self.vocabulary)} others is kept."
            )
        return self.vocabulary[str(token)]

    def str_tokens(self, run: str = BASE) -> list[str]:
        """What a run wrote, token by token."""
        row = self.tokens[self.index(run)]
        return [self.text(token) for token in row[row >= 0].tolist()]

    @property
    def agrees(self) -> Float[Tensor, "run depth token"]:
        """1 where the lens's first choice is the token written, else 0; NaN beyond an end."""
        same = (self.top_tokens[..., 0] == self.tokens[:, None]).float()
        return torch.where(self.tokens[:, None] < 0, torch.nan, same)

    @property
    def settled(self) -> Float[Tensor, "run token"]:
        """First depth from which on the lens's first choice is the token written, as
        `find_commitment` has it; NaN where the model's own first choice is another."""
        n_depths = self.n_layers + 1
        by_token = self.agrees.nan_to_num(0.0).transpose(1, 2)
        first = standing_from(by_token.reshape(-1, n_depths)).reshape(self.tokens.shape)
        return torch.where(first < n_depths, first, torch.nan).float()

    @property
    def first_difference(self) -> int | None:
        """The first token in which the edited text differs from the base's, or from which on one
        of both is at its end; None where they are the same, or nothing was edited."""
        if EDITED not in self.runs:
            return None
        return first_difference(self.tokens[self.index(BASE)], self.tokens[self.index(EDITED)])

    @property
    def control(self) -> str | None:
        """The run with random turns; None where there is none."""
        return EDITED + CONTROL if EDITED + CONTROL in self.runs else None

    def to_frame(self) -> "pd.DataFrame":
        """One row a run and token; `depth` is where it is settled.

        Ranks, entropies and log-probabilities are the model's own, those at depth L;
        `forced_kl` and `forced_log_prob` are of the base's token in the same place.
        """
        import pandas as pd

        run, token = (self.tokens >= 0).nonzero(as_tuple=True)
        return pd.DataFrame(
            {
                "run": [self.runs[i] for i in run.tolist()],
                "token": token.numpy(),
                "position": (token + len(self.prompt_tokens)).numpy(),
                "text": [self.text(t) for t in self.tokens[run, token].tolist()],
                **depth_columns(self.settled[run, token].numpy(), self.n_layers),
                **{
                    name: getattr(self, name)[run, -1, token].numpy()
                    for name in ("log_prob", "rank", "entropy")
                },
                "forced_kl": self.forced_kl[run, token].numpy(),
                "forced_log_prob": self.forced_log_prob[run, token].numpy(),
                "depth_by_patching": self._patched(run, token).numpy(),
            }
        )

    def _patched(
        self, run: Int[Tensor, " row"], token: Int[Tensor, " row"]
    ) -> Float[Tensor, " row"]:
        """Where tokens are settled by patching, of the base run alone."""
        found = torch.full(run.shape, torch.nan, dtype=torch.float32)
        if self.settled_by_patching is not None:
            of_base = run == self.index(BASE)
            found[of_base] = self.settled_by_patching[token[of_base]]
        return found

    def depth_frame(self) -> "pd.DataFrame":
        """One row a run, token and depth: what the lens reads of the token written."""
        import pandas as pd

        there = (self.tokens >= 0)[:, None].expand_as(self.log_prob)
        run, depth, token = there.nonzero(as_tuple=True)
        at = (run, depth, token)
        return pd.DataFrame(
            {
                "run": [self.runs[i] for i in run.tolist()],
                "token": token.numpy(),
                "text": [self.text(t) for t in self.tokens[run, token].tolist()],
                **depth_columns(depth.numpy(), self.n_layers),
                "log_prob": self.log_prob[at].numpy(),
                "rank": self.rank[at].numpy(),
                "entropy": self.entropy[at].numpy(),
                "kl": self.kl[at].numpy(),
                "top1": [self.text(t) for t in self.top_tokens[..., 0][at].tolist()],
                "top1_log_prob": self.top_log_probs[..., 0][at].numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Along the text: where each token is settled, how sure the model is of it, and how far
        the edited model's predictions are from the base's; the first difference is marked."""
        from lensdepth.continuation.figures import along_the_text

        return along_the_text(self)

    def plot_map(self, run: RunName = "base", *, value: "CellValue" = "kl") -> "Figure":
        """The tokens written by depth, the lens's first choice in each cell, and a line where
        each token is settled.

        Args:
            run: one of `runs`.
            value: as for `LensProfile.plot_tokens`.
        Raises:
            ValueError: there is no such run or value, or it wrote nothing.
        """
        from lensdepth.continuation.figures import written_map

        return written_map(self, run, value)


def first_difference(base: Int[Tensor, " token"], other: Int[Tensor, " token"]) -> int | None:
    """The first token in which two texts differ, or from which on one of both is at its end; None
    where they are the same."""
    differ = other != base
    return int(differ.nonzero()[0, 0]) if differ.any() else None
