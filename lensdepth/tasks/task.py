"""A task: prompts, mostly in pairs, with the token positions and answers analyses need.

Clean and corrupted differ in one place, the input position; the model answers target on the clean
prompt and foil on the corrupted one, read at the prediction position (each prompt's last token).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.tasks.columns import label_column
from lensdepth.tasks.joining import Joined
from lensdepth.tasks.told import kept
from lensdepth.tokens import TokenBatch
from lensdepth.units import Grouping, Units, default_units

Keep = Literal["all", "correct", "preferred", "wrong"]
"""Pairs by the model's own answers. `correct`: its first choice is target on the clean and foil on
the corrupted prompt. `preferred`: logit(target) > logit(foil) on the clean one, and the reverse on
the corrupted one. `wrong`: those that are not correct."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Prompts with their tokens, answers and positions; made by `load_task`."""

    name: str
    clean: tuple[str, ...]
    """The clean prompts, or the plain ones."""
    corrupted: tuple[str, ...] | None
    """None, like everything else about pairs, where there are plain prompts alone."""
    target: tuple[str, ...] | None
    """Answers to the clean prompts, as written; a token's own text where its id alone was given."""
    foil: tuple[str, ...] | None
    """Answers to the corrupted prompts, likewise."""
    joining: Joined | None
    """How answers follow where neither they nor the prompts tell: as written, or behind a space."""
    clean_tokens: TokenBatch
    corrupted_tokens: TokenBatch | None
    target_ids: Int[Tensor, " pair"] | None
    foil_ids: Int[Tensor, " pair"] | None
    input_positions: Int[Tensor, " pair"] | None
    """Last token of the part that varies in the clean prompts; None where none is known."""
    corrupted_input_positions: Int[Tensor, " pair"] | None
    inputs: tuple[str, ...] | None
    """The part that varies in the clean prompts, as text; None where none is known."""
    corrupted_inputs: tuple[str, ...] | None
    where: tuple[str, ...]
    """How an error names each pair: its line in a file, or its number when it was drawn."""
    labels: pd.DataFrame
    """One row per pair: alpha, beta, gamma, template, ... or a file's own label columns."""
    n_drawn: int
    """Pairs drawn or read, before any was left out."""
    n_multi_token: int
    """Pairs left out because an answer is not one token."""
    n_wrong: int
    """Pairs left out because the model answers one of the two prompts wrongly."""
    seed: int
    keep: Keep = "all"
    """Which pairs were kept, by the model's own answers."""
    n_unkept: int = 0
    """Pairs left out by another `keep` than "correct": the model does not prefer the answers of
    one of the two prompts, or answers both rightly."""
    n_alone: int = 0
    """Pairs left out for steering, since no other prompt has one of their labels."""
    unit_columns: tuple[str, ...] | None = None
    """Labels, `input` and `prompt` by which pairs go together; None for what `units` finds."""

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The clean (or plain) prompts."""
        return self.clean

    @property
    def origin(self) -> dict[str, Any]:
        """What the provenance of a result says of its task: for `make_provenance`."""
        return {
            "task": self.name,
            "prompts": self.clean,
            "corrupted": self.corrupted or (),
            "joining": self.joining or "",
            "pairs": kept(self),
            "units": self.units,
            "labels": self.groupings,
        }

    @property
    def has_pairs(self) -> bool:
        """Whether there are corrupted prompts, targets and foils."""
        return self.corrupted is not None

    @property
    def prediction_positions(self) -> Int[Tensor, " pair"]:
        """Last token of each clean prompt."""
        return self.clean_tokens.last

    @property
    def corrupted_prediction_positions(self) -> Int[Tensor, " pair"] | None:
        """Last token of each corrupted prompt."""
        return None if self.corrupted_tokens is None else self.corrupted_tokens.last

    @property
    def hands_over(self) -> Bool[Tensor, " pair"]:
        """Pairs in which control can pass from the input position to the prediction position: those
        in which these are two, in both prompts."""
        if self.input_positions is None or self.corrupted_input_positions is None:
            return torch.zeros(len(self), dtype=torch.bool)
        last = self.prediction_positions, self.corrupted_prediction_positions
        return (self.input_positions != last[0]) & (self.corrupted_input_positions != last[1])

    @property
    def no_handover(self) -> str:
        """Why it is not looked for where control passes from one to the other; empty where it is.

        It is, where it can pass in at least half of the pairs.
        """
        if self.input_positions is None or self.corrupted_input_positions is None:
            return "the task has no input position; add the columns input and corrupted_input"
        n = len(self) - int(self.hands_over.sum())
        if 2 * n <= len(self):
            return ""
        return (
            f"in {n} of {len(self)} pairs the input is the prompt's own last token, so that "
            f"control has no other position to pass to"
        )

    @property
    def groupings(self) -> Units:
        """Every label, and the input word: what is known of each pair."""
        found = [
            Grouping(name=str(name), values=tuple(map(str, self.labels[name])))
            for name in self.labels
        ]
        if self.inputs is not None and "input" not in self.labels:
            found.append(Grouping(name="input", values=self.inputs))
        return tuple(found)

    @property
    def units(self) -> Units:
        """What is independent: which pairs go together, by input word, template and the like.

        By `unit_columns`, or where these are not given by input words in both roles (prompts where
        there are none) and by every label that repeats and has at least 5 values.
        """
        columns = {str(name): self.labels[name].tolist() for name in self.labels}
        if self.unit_columns is None:
            return default_units(
                prompts=self.clean,
                corrupted=self.corrupted,
                inputs=self.inputs,
                corrupted_inputs=self.corrupted_inputs,
                labels=columns,
            )
        both: dict[str, tuple[Sequence[str], Sequence[str] | None]] = {
            "prompt": (self.clean, self.corrupted)
        }
        if self.inputs is not None:
            both["input"] = self.inputs, self.corrupted_inputs
        return tuple(
            Grouping(name=name, values=tuple(both[name][0]), other=tuple(both[name][1] or ()))
            if name in both and name not in columns
            else Grouping(name=name, values=tuple(map(str, columns[name])))
            for name in self.unit_columns
        )

    def select(
        self, rows: int | slice | Sequence[int] | Sequence[bool] | np.ndarray | Tensor
    ) -> "Task":
        """The pairs of these rows, in this order; the counts stay those of the whole task.

        Args:
            rows: indices (negative ones count from the end), a mask with one truth value per pair,
                or a slice.
        Raises:
            ValueError: no row is left.
            IndexError: there is no such row.
        """
        if not isinstance(rows, slice):
            rows = rows.cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
            rows = rows if rows.size else np.zeros(0, dtype=int)
            if rows.ndim > 1 or rows.dtype.kind not in "biu":
                raise IndexError(
                    f"Task.select: rows are whole numbers or truth values, one after the other; "
                    f"got {rows.dtype} of shape {list(rows.shape)}."
                )
            if rows.dtype == bool and rows.shape != (len(self),):
                raise IndexError(
                    f"Task.select: a mask needs one truth value per pair, {len(self)}, "
                    f"got shape {list(rows.shape)}."
                )
            outside = [] if rows.dtype == bool else rows[(rows < -len(self)) | (rows >= len(self))]
            if len(np.atleast_1d(outside)):
                raise IndexError(
                    f"Task.select: there is no row {np.atleast_1d(outside)[0]}; {self.name!r} has "
                    f"rows 0...{len(self) - 1}."
                )
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        if not len(chosen):
            raise ValueError(f"Task.select: none of the {len(self)} rows of {self.name!r} is left.")
        index = torch.from_numpy(chosen)

        def texts(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[i] for i in chosen)

        def numbers(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[index]

        return replace(
            self,
            clean=tuple(self.clean[i] for i in chosen),
            corrupted=texts(self.corrupted),
            target=texts(self.target),
            foil=texts(self.foil),
            clean_tokens=self.clean_tokens[index],
            corrupted_tokens=None
            if self.corrupted_tokens is None
            else self.corrupted_tokens[index],
            target_ids=numbers(self.target_ids),
            foil_ids=numbers(self.foil_ids),
            input_positions=numbers(self.input_positions),
            corrupted_input_positions=numbers(self.corrupted_input_positions),
            inputs=texts(self.inputs),
            corrupted_inputs=texts(self.corrupted_inputs),
            where=tuple(self.where[i] for i in chosen),
            labels=self.labels.iloc[chosen].reset_index(drop=True),
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per pair: texts, token ids, positions, labels.

        `load_task(task.to_frame(), model, n=None)` makes the task anew: its pairs, answers' tokens
        and labels. Positions are found again; where none is known of the varying part it is sought
        among the rows that are there. What does not stand in the table is not carried: name, seed,
        `joining`, `where`, and how many pairs were left out. For a model of another tokenizer leave
        out the columns `target_id` and `foil_id`.

        Labels that are named like another column of such tables are called `label_...`.
        """
        columns = {
            "pair": range(len(self)),
            "clean": self.clean,
            "corrupted": self.corrupted,
            "target": self.target,
            "foil": self.foil,
            "target_id": self.target_ids,
            "foil_id": self.foil_ids,
            "input": self.inputs,
            "corrupted_input": self.corrupted_inputs,
            "input_position": self.input_positions,
            "corrupted_input_position": self.corrupted_input_positions,
            "prediction_position": self.prediction_positions,
            "corrupted_prediction_position": self.corrupted_prediction_positions,
        }
        frame = pd.DataFrame(
            {
                name: values.tolist() if isinstance(values, Tensor) else list(values)
                for name, values in columns.items()
                if values is not None
            }
        )
        labels = self.labels.rename(columns={name: label_column(str(name)) for name in self.labels})
        return pd.concat([frame, labels], axis=1)
