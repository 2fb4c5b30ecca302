"""What a steering vector does to the pairs of a task, by strength, beside random turns as far."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.applied.verdict import Judged, judge
from lensdepth.arguments import checked
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

VECTOR, TURN = "vector", "turn"
"""Labels of the axis `edit`; turns are numbered, from 1."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class VectorResponse(SweepResult):
    """Outcome of one steering vector in the base runs of pairs, and of random turns as far."""

    MADE_BY: ClassVar[str] = "vector_response(model, task, vector)"
    """The call that makes one."""
    SAMPLED: ClassVar[str] = "Turns"
    """What is run on some of the pairs only."""

    provenance: Provenance
    outcome: Effects
    """By edit (`vector`, and `turn 1` and so on, its controls; no turn where it turns nothing),
    strength and pair: `logit_diff` in nats; `flip`, 1 where the first choice is not the base run's;
    `kl`, KL(base || edited) in nats; `success`, 1 where the source's answer comes first, its
    probability, and both answers' logits."""
    first_choice: Int[Tensor, "edit strength pair"]
    """The token that comes first; -1 where nothing was run."""
    base_choice: Int[Tensor, " pair"]
    """The same of the base run."""
    seen: Bool[Tensor, " pair"]
    """Whether the vector was made from this base prompt, among others."""
    vocabulary: dict[str, str]
    """Text of every token id that occurs."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Ascending, in the unit of the vector's edit."""
        return tuple(float(one) for one in self.outcome.coords["strength"])

    @property
    def edit(self) -> str:
        """The vector's: `add`, or one of `lensdepth.EDITS`."""
        return str(self.provenance.settings["edit"])

    @property
    def n_random(self) -> int:
        """Random turns beside the vector; 0 where it turns nothing."""
        return len(self.outcome.coords["edit"]) - 1

    def change(self, metric: str) -> Float[Tensor, "strength pair"]:
        """Change of a metric by the vector, against the base run."""
        return self.outcome.change(metric)[0]

    def turned(self, metric: str) -> Float[Tensor, "strength pair"]:
        """The same by random turns, their mean; NaN where none was run."""
        if not self.n_random:
            return torch.full_like(self.change(metric), torch.nan)
        return self.outcome.change(metric)[1:].mean(0)

    @property
    def answers(self) -> tuple[str, str]:
        """The metrics of the source's and of the base's answer: the target's logit is the first
        when denoising."""
        target, foil = ANSWERS
        return (target, foil) if self.outcome.intended == "target" else (foil, target)

    @property
    def chief(self) -> float:
        """The strength that sentences give the numbers of: the smallest, whatever its sign, at
        which the vector does more than a turn, else any other thing; the largest where it does
        nothing."""
        by_size = sorted(self.strengths, key=abs)
        for wanted in (("more than a turn",), ("as any turn", "no control")):
            for strength in by_size:
                if self.judged[strength].verdict in wanted:
                    return strength
        return by_size[-1]

    @cached_property
    def judged(self) -> dict[float, Judged]:
        """By strength what the vector does."""
        columns = [
            self.change("flip"), self.turned("flip"),
            self.change(self.answers[0]), self.turned(self.answers[0]),
        ]  # fmt: skip
        return {
            strength: judge(
                *(one[i].double().numpy() for one in columns),
                units=self.provenance.units,
                n_prompts=len(set(self.provenance.prompts)),
                n_strengths=len(self.strengths),
                turns=self.n_random > 0,
                floor=self.outcome.floor_of(self.answers[0]),
            )
            for i, strength in enumerate(self.strengths)
        }

    def said(self, strength: float) -> list[tuple[str, int]]:
        """The first choices that the vector brings about at a strength where they change, by
        text, each with in how many pairs, most frequent first."""
        at = self.strengths.index(strength)
        ids = self.first_choice[0, at][self.change("flip")[at] == 1].tolist()
        texts = [self.vocabulary[str(one)] for one in ids]
        counts = {text: texts.count(text) for text in dict.fromkeys(texts)}
        return sorted(counts.items(), key=lambda one: -one[1])

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, strength and pair."""
        texts = {-1: ""} | {int(token): text for token, text in self.vocabulary.items()}
        frame = self.outcome.to_frame(
            "resid_pre",
            self.n_layers,
            {
                "first_choice": ("edit strength pair", self.first_choice),
                "base_choice": ("pair", self.base_choice),
            },
        )
        for name in ("first_choice", "base_choice"):
            frame[name] = [texts[token] for token in frame[name]]
        return frame

    def verdict_frame(self) -> "pd.DataFrame":
        """One row a strength: verdicts, and the numbers that they rest on."""
        import pandas as pd

        rows = []
        for strength, one in self.judged.items():
            row: dict[str, object] = {"strength": strength, "verdict": one.verdict}
            row |= {"reason": one.reason, "whereto": one.whereto}
            for name in ("flips", "flips_lead", "gain", "gain_lead"):
                found = getattr(one, name)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """By strength: first choices that change, the source's answer in front, and KL; random
        turns dashed."""
        from lensdepth.applied.figure import by_strength

        return by_strength(self)
