"""What a lens read: the result, its table and its figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import Result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from lensdepth.lens.figures import CellValue


ReadingName = Literal[
    "contrast", "logit_diff", "preferred", "answer_agreement", "answer_kl", "answer_entropy",
    "kl", "entropy", "top1_agreement", "target_log_prob", "foil_log_prob",
]  # fmt: skip
READINGS: tuple[ReadingName, ...] = get_args(ReadingName)
"""Measures of a profile that have a curve over depth: of the answers first, then of all tokens."""
IN_FRAME = (
    "final_rank", "target_log_prob", "target_rank", "foil_log_prob", "foil_rank", "logit_diff",
    "contrast", "answer_kl", "answer_entropy", "answer_agreement",
)  # fmt: skip
"""Columns that a table has where they were read."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class LensProfile(Result):
    """What the lens reads at each depth, prompt and position.

    Entries beyond a prompt (`position` -1) are NaN, or 0 in the integer fields.
    """

    MADE_BY: ClassVar[str] = "logit_lens(model, task)"
    """The call that makes one."""

    provenance: Provenance
    position: Int[Tensor, "prompt pos"]
    """Index of the token whose state is read; -1 where the prompt is shorter."""
    token: Int[Tensor, "prompt pos"]
    """The token found there."""
    kl: Float[Tensor, "depth prompt pos"]
    """KL(final || lens) in nats; 0 at depth L."""
    entropy: Float[Tensor, "depth prompt pos"]
    """Entropy of the lens distribution in nats."""
    top1_agreement: Float[Tensor, "depth prompt pos"]
    """1 where the lens's most likely token is the model's final one, else 0."""
    top_tokens: Int[Tensor, "depth prompt pos top"]
    """Most likely tokens, best first."""
    top_log_probs: Float[Tensor, "depth prompt pos top"]
    """Their log-probabilities in nats."""
    final_rank: Float[Tensor, "depth prompt pos"] | None = None
    """Number of tokens above the model's final most likely one; 0 at depth L. None in results
    that an earlier version saved."""
    target_log_prob: Float[Tensor, "depth prompt pos"] | None
    """Log-probability of the task's target in nats; None without targets."""
    target_rank: Float[Tensor, "depth prompt pos"] | None
    """Number of tokens above the target; 0 is the top."""
    foil_log_prob: Float[Tensor, "depth prompt pos"] | None
    foil_rank: Float[Tensor, "depth prompt pos"] | None
    corrupted_logit_diff: Float[Tensor, "depth prompt pos"] | None = None
    """Logit of the target minus that of the foil at the end of the pair's corrupted prompt, in
    nats; None without pairs, or where other tokens than the last are read."""
    answers: Int[Tensor, " answer"] | None = None
    """The task's answers, each once; what follows is among them alone. None without answers, and
    in results that an earlier version saved."""
    answer_kl: Float[Tensor, "depth prompt pos"] | None = None
    """KL(final || lens) of both distributions over the answers, in nats."""
    answer_entropy: Float[Tensor, "depth prompt pos"] | None = None
    """Entropy of the lens distribution over the answers, in nats."""
    answer_agreement: Float[Tensor, "depth prompt pos"] | None = None
    """1 where the likeliest of the answers is the one that it is in the end, else 0."""
    followed: Int[Tensor, " followed"] | None = None
    """Tokens that were asked for by name; None where none were."""
    followed_log_prob: Float[Tensor, "depth prompt pos followed"] | None = None
    """Their log-probabilities in nats."""
    followed_rank: Float[Tensor, "depth prompt pos followed"] | None = None
    """Number of tokens above each; 0 is the top."""
    vocabulary: dict[str, str]
    """Text of every token id that occurs in `token`, `top_tokens` or `followed`."""

    @property
    def n_layers(self) -> int:
        return self.kl.shape[0] - 1

    @property
    def logit_diff(self) -> Float[Tensor, "depth prompt pos"] | None:
        """Logit of the target minus that of the foil, in nats; None without answers."""
        if self.target_log_prob is None or self.foil_log_prob is None:
            return None
        return self.target_log_prob - self.foil_log_prob

    @property
    def preferred(self) -> Float[Tensor, "depth prompt pos"] | None:
        """1 where the target is likelier than the foil, else 0."""
        found = self.logit_diff
        return None if found is None else torch.where(found.isnan(), found, (found > 0).float())

    @property
    def contrast(self) -> Float[Tensor, "depth prompt pos"] | None:
        """How much likelier than the foil the target is because the prompt is the clean one.

        The probability of the target, of target and foil alone, on the clean prompt minus the same
        on the corrupted one: 0 wherever the lens reads the same from both, whatever else outshines
        the answers there, and 1 where each prompt has its own answer. None without pairs.
        """
        found = self.logit_diff
        if found is None or self.corrupted_logit_diff is None:
            return None
        return found.sigmoid() - self.corrupted_logit_diff.sigmoid()

    @property
    def echo(self) -> bool:
        """Whether depth 0 reads back the token that stands there, as where embedding and
        unembedding are one matrix: nothing is predicted yet, and the divergence says so loudly."""
        real = self.position >= 0
        return bool((self.top_tokens[0, ..., 0] == self.token)[real].float().mean() > 0.5)

    @property
    def located_by(self) -> ReadingName:
        """What `find_transition` reads where nobody says otherwise: pairs by their contrast."""
        return "kl" if self.corrupted_logit_diff is None else "contrast"

    def to_locate(
        self, by: ReadingName | None = None
    ) -> tuple[Float[Tensor, "prompt depth"], tuple[float, ...]]:
        """What a switch is looked for in, and the depths of its columns.

        A reading of all tokens begins at depth 1 where depth 0 reads back the token itself.

        Args:
            by: one of `readings`; None: `located_by`.
        Raises:
            ValueError: there is no such measure here.
        """
        from lensdepth.lens.told import SUMMARY

        by = by or self.located_by
        first = int(self.echo and by in SUMMARY)
        return self.reading(by)[:, first:], tuple(map(float, range(first, self.n_layers + 1)))

    @property
    def readings(self) -> tuple[ReadingName, ...]:
        """Those of `READINGS` that there are here."""
        return tuple(name for name in READINGS if getattr(self, name) is not None)

    def reading(self, by: ReadingName) -> Float[Tensor, "prompt depth"]:
        """One measure by prompt and depth, the mean over each prompt's positions.

        Args:
            by: one of `readings`.
        Raises:
            ValueError: there is no such measure here.
        """
        there = self.readings
        if by not in there:
            raise ValueError(
                f"LensProfile: there is no reading {by!r} here; there are {', '.join(there)}."
            )
        return self.mean_by_depth(getattr(self, by))

    @property
    def name(self) -> str:
        """ "Logit lens", or whose maps stood in front of the readout."""
        from lensdepth.lens.told import lens_name

        return lens_name(self.provenance).capitalize()

    def text(self, token: int) -> str:
        """The text of a token id that occurs in this profile.

        Raises:
            ValueError: it does not occur.
        """
        if str(token) not in self.vocabulary:
            raise ValueError(
                f"LensProfile: token {token} does not occur; the text of {len(self.vocabulary)} "
                f"others is kept."
            )
        return self.vocabulary[str(token)]

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth, prompt and position."""
        import pandas as pd

        n_depths, n_prompts, n_pos = self.kl.shape
        depth, prompt, pos = torch.meshgrid(
            torch.arange(n_depths), torch.arange(n_prompts), torch.arange(n_pos), indexing="ij"
        )
        real = (self.position >= 0).expand(n_depths, -1, -1)
        columns: dict[str, object] = {
            "depth": depth[real].numpy(),
            "relative_depth": (depth[real] / self.n_layers).numpy(),
            "prompt": prompt[real].numpy(),
            "position": self.position[prompt[real], pos[real]].numpy(),
            "token": [self.text(t) for t in self.token[prompt[real], pos[real]].tolist()],
            "kl": self.kl[real].numpy(),
            "entropy": self.entropy[real].numpy(),
            "top1_agreement": self.top1_agreement[real].numpy(),
            "top1": [self.text(t) for t in self.top_tokens[..., 0][real].tolist()],
            "top1_log_prob": self.top_log_probs[..., 0][real].numpy(),
        }
        for name in IN_FRAME:
            values = getattr(self, name)
            if values is not None:
                columns[name] = values[real].numpy()
        return pd.DataFrame(columns)

    def followed_frame(self) -> "pd.DataFrame":
        """One row a depth, prompt, position and token that was followed.

        Raises:
            ValueError: none was.
        """
        import pandas as pd

        tokens, log_prob, rank = self._paths()
        depth, prompt, pos, which = torch.meshgrid(
            *(torch.arange(n) for n in log_prob.shape), indexing="ij"
        )
        real = (self.position >= 0)[None, ..., None].expand_as(log_prob)
        return pd.DataFrame(
            {
                "depth": depth[real].numpy(),
                "relative_depth": (depth[real] / self.n_layers).numpy(),
                "prompt": prompt[real].numpy(),
                "position": self.position[prompt[real], pos[real]].numpy(),
                "token": [self.text(t) for t in tokens[which[real]].tolist()],
                "log_prob": log_prob[real].numpy(),
                "rank": rank[real].numpy(),
            }
        )

    def _paths(
        self,
    ) -> tuple[
        Int[Tensor, " followed"],
        Float[Tensor, "depth prompt pos followed"],
        Float[Tensor, "depth prompt pos followed"],
    ]:
        if self.followed is None or self.followed_log_prob is None or self.followed_rank is None:
            raise ValueError(
                "LensProfile: no token was followed; name some: logit_lens(..., follow=[...])."
            )
        return self.followed, self.followed_log_prob, self.followed_rank

    def mean_by_depth(
        self, values: Float[Tensor, "depth prompt pos"]
    ) -> Float[Tensor, "prompt depth"]:
        """Mean over a prompt's positions: the profile that `find_transition` takes."""
        return values.nanmean(-1).T

    def plot(self) -> "Figure":
        """Contrast, KL to the final distribution, entropy and agreement by depth, with bands."""
        from lensdepth import plotting
        from lensdepth.lens.told import SUMMARY, curves

        keys = ("contrast", *SUMMARY)
        title = f"{self.name} by depth"
        return plotting.depth_panels(curves(self, keys), n_layers=self.n_layers, title=title)

    def plot_tokens(self, prompt: int = 0, *, value: "CellValue" = "kl") -> "Figure":
        """One prompt's tokens by depth, with the most likely next token in each cell.

        Args:
            prompt: which prompt.
            value: what the colour shows: "kl", "entropy", "probability" (of the token in the cell)
                or "rank" (of the token that the model predicts in the end).
        Raises:
            ValueError: there is no such prompt or value, or the result was saved without ranks.
        """
        from lensdepth.lens.figures import token_map

        return token_map(self, prompt, value)

    def plot_top(
        self, prompt: int = 0, *, position: int = -1, depth: int | None = None, k: int = 5
    ) -> "Figure":
        """The likeliest next tokens at one cell as bars, by default the model's own prediction.

        Args:
            prompt: which prompt.
            position: which token; negative ones count from the prompt's end.
            depth: None is the last one.
            k: how many; no more than were kept.
        Raises:
            ValueError: there is no such cell.
        """
        from lensdepth.lens.figures import top_bars

        return top_bars(self, prompt, position, depth, k)

    def plot_followed(self, prompt: int = 0, *, position: int = -1) -> "Figure":
        """Probability and rank of the tokens that were followed, by depth, at one token.

        Args:
            prompt: which prompt.
            position: which of its tokens; negative ones count from the prompt's end.
        Raises:
            ValueError: no token was followed, or there is no such place.
        """
        from lensdepth.lens.figures import followed_story

        return followed_story(self, prompt, position, *self._paths())
