"""What a model writes while an edit is held on at growing strength: the result and its verdict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.continuation.profile import EDITED, first_difference
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

FLOOR = 1e-5
"""Nats: a mean KL below it is rounding. Turns and factors that are the identity left less than a
tenth of it, in float32 and in bfloat16 (the bundled models)."""
DoseVerdict = Literal["more than a turn", "no more than a turn", "nothing", "no control"]


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ContinuationDose(ModelResult):
    """One text, and what becomes of it by the strength of an edit that is held on; beside the edit
    stand its random turns, as far at each strength."""

    MADE_BY: ClassVar[str] = "continuation_dose(model, prompt, strengths=[...])"
    """The call that makes one."""

    provenance: Provenance
    edit: str
    """What was held on; `add` for a vector that was added."""
    strengths: tuple[float, ...]
    """Ascending, in the unit of the edit."""
    runs: tuple[str, ...]
    """`edited`, and `edited control 1` and so on for each random turn; no turn where the edit turns
    nothing."""
    prompt_tokens: Int[Tensor, " prompt_token"]
    base_tokens: Int[Tensor, " token"]
    """What the model writes as it is."""
    tokens: Int[Tensor, "strength run written"]
    """What each run writes; -1 beyond its end."""
    base_text: str
    """The base's tokens as text, without the prompt."""
    texts: tuple[tuple[str, ...], ...]
    """What each run writes as text, by strength and run."""
    forced_kl: Float[Tensor, "strength run token"]
    """KL(base || run) in nats along the base's own tokens, which every run is given. Rounding may
    leave a tiny negative number."""
    vocabulary: dict[str, str]
    """Text of every token id that occurs."""

    def text(self, token: int) -> str:
        """The text of a token id that occurs; nothing for -1.

        Raises:
            ValueError: it does not occur.
        """
        if token != -1 and str(token) not in self.vocabulary:
            raise ValueError(
                f"ContinuationDose: token {token} does not occur; the text of "
                f"{len(self.vocabulary)} others is kept."
            )
        return self.vocabulary.get(str(token), "")

    @property
    def n_random(self) -> int:
        """Random turns beside the edit; 0 where it turns nothing."""
        return len(self.runs) - 1

    @property
    def same(self) -> Bool[Tensor, "strength run token"]:
        """Whether a run writes the base's token in its place."""
        return self.tokens[..., : len(self.base_tokens)] == self.base_tokens

    @property
    def mean_kl(self) -> Float[Tensor, "strength run"]:
        """KL(base || run) in nats, the mean over the base's tokens."""
        return self.forced_kl.mean(-1)

    @property
    def divergence(self) -> Float[Tensor, "strength run"]:
        """The divergence point: the first token in which a run's text differs from the base's, or
        from which on one of both is at its end; NaN where the texts are the same."""
        base = torch.full((self.tokens.shape[-1],), -1)
        base[: len(self.base_tokens)] = self.base_tokens
        points = [[first_difference(base, run) for run in runs] for runs in self.tokens]
        return torch.tensor(
            [[torch.nan if point is None else float(point) for point in row] for row in points],
            dtype=torch.float32,
        )

    @property
    def judged(self) -> float:
        """The strength that is judged: the smallest, whatever its sign, at which the text of any
        run is another, the edit's or a turn's; the largest where none is.

        Edit and turns are treated alike, so that the choice favours neither; and far beyond it any
        turn leaves nothing of the text, whose KL says no more of the edit.
        """
        by_size = sorted(self.strengths, key=abs)
        parted = (~self.divergence.isnan()).any(1).tolist()
        other = [s for s in by_size if parted[self.strengths.index(s)]]
        return (other or by_size[-1:])[0]

    @property
    def verdict(self) -> DoseVerdict:
        """What the edit does to this one text, which has no interval.

        - `nothing`: its mean KL is below `FLOOR` at every strength;
        - `no control`: it turns nothing, so that there is no random turn to compare with;
        - `more than a turn`: at `judged`, its mean KL is above that of every random turn, and its
          text parts from the base's no later than any of theirs;
        - `no more than a turn`: otherwise.
        """
        if bool((self.mean_kl[:, 0] < FLOOR).all()):
            return "nothing"
        if not self.n_random:
            return "no control"
        at = self.strengths.index(self.judged)
        kl, point = self.mean_kl[at], self.divergence[at].nan_to_num(torch.inf)
        more = bool(kl[0] > kl[1:].max()) and bool(point[0] <= point[1:].min())
        return "more than a turn" if more else "no more than a turn"

    def to_frame(self) -> "pd.DataFrame":
        """One row a strength, run and token of the base's text: `kl` along that text, what the run
        writes in its place, and whether that is the `same`. What a run writes behind the end of
        the base's text is in `texts` alone."""
        import pandas as pd

        n_strengths, n_runs, n_tokens = self.forced_kl.shape
        token = torch.arange(n_tokens).repeat(n_strengths * n_runs)
        written = self.tokens[..., :n_tokens].flatten().tolist()
        return pd.DataFrame(
            {
                "strength": [s for s in self.strengths for _ in range(n_runs * n_tokens)],
                "run": [run for run in self.runs for _ in range(n_tokens)] * n_strengths,
                "token": token.numpy(),
                "position": (token + len(self.prompt_tokens)).numpy(),
                "text": [self.text(t) for t in self.base_tokens[token].tolist()],
                "written": [self.text(t) for t in written],
                "same": self.same.flatten().numpy(),
                "kl": self.forced_kl.flatten().numpy(),
            }
        )

    def dose_frame(self) -> "pd.DataFrame":
        """One row a strength: mean KL and divergence point of the edit, and of its random turns the
        mean KL over all, the lowest and the highest, and each one's divergence point."""
        import pandas as pd

        kl, point = self.mean_kl, self.divergence
        turns = kl[:, 1:] if self.n_random else torch.full_like(kl, torch.nan)
        return pd.DataFrame(
            {
                "strength": self.strengths,
                "kl": kl[:, 0].numpy(),
                "control_kl": turns.mean(1).numpy(),
                "control_kl_low": turns.amin(1).numpy(),
                "control_kl_high": turns.amax(1).numpy(),
                "divergence": point[:, 0].numpy(),
                **{
                    f"control_{i}_divergence": point[:, i].numpy() for i in range(1, len(self.runs))
                },
                "text": [texts[self.runs.index(EDITED)] for texts in self.texts],
            }
        )

    def plot(self) -> "Figure":
        """By strength: mean KL along the base's tokens, and below it the divergence point; random
        turns dashed."""
        from lensdepth.continuation.dose_figure import by_strength

        return by_strength(self)
