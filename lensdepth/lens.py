"""The logit lens by depth: what the model would predict if it stopped reading here.

Each residual state goes through the model's own final norm and unembedding, so at depth L the
lens is the model's own distribution. Readouts are streamed: memory holds a few million logits
at a time, whatever the number of prompts and depths.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; the divergence to the final
distribution as in Belrose et al. 2023, arXiv 2303.08112.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.model import DepthModel
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.roles import gather_prompts
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

LOGITS_AT_ONCE = 2**24
"""Most logits held for one depth: 64 MiB in float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LensProfile:
    """What the lens reads at each depth, prompt and position.

    Entries beyond a prompt (`position` -1) are NaN, or 0 in the integer fields.
    """

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
    target_log_prob: Float[Tensor, "depth prompt pos"] | None
    """Log-probability of the task's target in nats; None without targets."""
    target_rank: Float[Tensor, "depth prompt pos"] | None
    """Number of tokens above the target; 0 is the top."""
    foil_log_prob: Float[Tensor, "depth prompt pos"] | None
    foil_rank: Float[Tensor, "depth prompt pos"] | None
    vocabulary: dict[str, str]
    """Text of every token id that occurs in `token` or `top_tokens`."""

    @property
    def n_layers(self) -> int:
        return self.kl.shape[0] - 1

    def text(self, token: int) -> str:
        """The text of a token id that occurs in this profile."""
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
        for name in ("target_log_prob", "target_rank", "foil_log_prob", "foil_rank"):
            values = getattr(self, name)
            if values is not None:
                columns[name] = values[real].numpy()
        return pd.DataFrame(columns)

    def mean_by_depth(
        self, values: Float[Tensor, "depth prompt pos"]
    ) -> Float[Tensor, "prompt depth"]:
        """Mean over a prompt's positions: the profile that `find_transition` takes."""
        return values.nanmean(-1).T

    def plot(self) -> "Figure":
        """KL to the final distribution, entropy and top-1 agreement by depth, with 95 % bands."""
        from lensdepth import plotting, stats

        panels = {
            "KL(final ‖ lens), nats": self.kl,
            "entropy, nats": self.entropy,
            "top-1 agreement": self.top1_agreement,
        }
        curves = [
            plotting.Curve.from_interval(
                name, *stats.bootstrap_mean(self.mean_by_depth(values).numpy()), role=role
            )
            for (name, values), role in zip(
                panels.items(), ("lens", "entropy", "agree"), strict=True
            )
        ]
        return plotting.depth_panels(curves, n_layers=self.n_layers, title="Logit lens by depth")

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "LensProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


def logit_lens(
    model: DepthModel,
    prompts: Task | Prompts,
    *,
    positions: Positions = "last",
    top_k: int = 5,
    batch_size: int | None = None,
) -> LensProfile:
    """Read every depth through the model's own readout.

    Args:
        model: any wrapped model.
        prompts: a task (its clean prompts are read, with its target and foil), one prompt or
            several, as text or token ids.
        positions: "last", "all", or indices per prompt.
        top_k: how many of the most likely tokens to keep.
    Returns:
        LensProfile; its `kl` at depth L is 0 up to rounding.
    Raises:
        ValueError: an empty prompt, a position beyond a prompt, `top_k` below 1.
    Source: nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    Example:
        >>> logit_lens(model, "Two months from January is").kl.shape
        torch.Size([11, 1, 1])
    """
    if not 1 <= top_k <= model.d_vocab:
        raise ValueError(
            f"logit_lens: top_k must be between 1 and d_vocab ({model.d_vocab}), got {top_k}."
        )
    task, texts, batch = gather_prompts(model, prompts)
    position = resolve_positions(batch, positions)
    answers = {
        name: ids for name, ids in (() if task is None else _answers(task)) if ids is not None
    }
    chunks = [
        _read_chunk(
            model,
            batch[rows],
            position[rows],
            {name: ids[rows] for name, ids in answers.items()},
            top_k,
            batch_size,
        )
        for rows in _row_chunks(len(batch), position.shape[1], model.n_layers, model.d_model)
    ]
    read = {name: torch.cat([chunk[name] for chunk in chunks], dim=1) for name in chunks[0]}
    token = batch.tokens.cpu().gather(1, position.clamp(min=0))
    ids = torch.cat([token.flatten(), read["top_tokens"].flatten()]).unique().tolist()
    return LensProfile(
        provenance=make_provenance(
            "logit_lens",
            model.info,
            task=task.name if task is not None else "prompts",
            prompts=texts,
            settings={
                "positions": positions if isinstance(positions, str) else "given",
                "top_k": top_k,
            },
        ),
        position=position,
        token=token,
        vocabulary={str(i): model.token_text(i) for i in ids},
        target_log_prob=read.pop("target_log_prob", None),
        target_rank=read.pop("target_rank", None),
        foil_log_prob=read.pop("foil_log_prob", None),
        foil_rank=read.pop("foil_rank", None),
        **read,
    )


def _answers(task: Task) -> tuple[tuple[str, Int[Tensor, " prompt"] | None], ...]:
    return ("target", task.target_ids), ("foil", task.foil_ids)


def _row_chunks(n_prompts: int, n_pos: int, n_layers: int, d_model: int) -> list[slice]:
    """Split the prompts so that the residual states of a chunk stay below 2^26 numbers."""
    rows = max(1, 2**26 // ((n_layers + 1) * n_pos * d_model))
    return [slice(start, start + rows) for start in range(0, n_prompts, rows)]


def _read_chunk(
    model: DepthModel,
    batch: TokenBatch,
    position: Int[Tensor, "prompt pos"],
    answers: dict[str, Int[Tensor, " prompt"]],
    top_k: int,
    batch_size: int | None,
) -> dict[str, Tensor]:
    """Lens measures `[depth, prompt, pos]` of a few prompts, a bounded part at a time."""
    resid = model.residual_stream(batch, positions=position, batch_size=batch_size).resid
    real = position >= 0
    prompt_of = torch.arange(len(batch)).unsqueeze(1).expand_as(position)[real]
    states = resid[:, real]
    at_once = max(1, LOGITS_AT_ONCE // model.d_vocab)
    columns: dict[str, list[Tensor]] = {}
    for start in range(0, states.shape[1], at_once):
        rows = slice(start, start + at_once)
        final = metrics.log_probs(model.readout(states[-1, rows]))
        by_depth = [
            _read_depth(
                metrics.log_probs(model.readout(states[depth, rows])),
                final,
                {name: ids[prompt_of[rows]] for name, ids in answers.items()},
                top_k,
            )
            for depth in range(states.shape[0])
        ]
        for name in by_depth[0]:
            columns.setdefault(name, []).append(torch.stack([read[name] for read in by_depth]))
    return {name: _scatter(torch.cat(parts, dim=1), real) for name, parts in columns.items()}


def _read_depth(
    lens: Float[Tensor, "row d_vocab"],
    final: Float[Tensor, "row d_vocab"],
    answers: dict[str, Int[Tensor, " row"]],
    top_k: int,
) -> dict[str, Tensor]:
    top_log_probs, top_tokens = lens.topk(top_k, dim=-1)
    read = {
        "kl": metrics.kl_divergence(final, lens),
        "entropy": metrics.entropy(lens),
        "top1_agreement": metrics.is_top1(lens, final.argmax(-1)).float(),
        "top_tokens": top_tokens,
        "top_log_probs": top_log_probs,
    }
    for name, token in answers.items():
        read[f"{name}_log_prob"] = metrics.token_log_prob(lens, token)
        read[f"{name}_rank"] = metrics.token_rank(lens, token).float()
    return {name: values.cpu() for name, values in read.items()}


def _scatter(values: Tensor, real: Tensor) -> Tensor:
    """Put `[depth, row, ...]` back to `[depth, prompt, pos, ...]`, NaN (or 0) beyond a prompt."""
    shape = (values.shape[0], *real.shape, *values.shape[2:])
    fill = torch.nan if values.is_floating_point() else 0
    out = torch.full(shape, fill, dtype=values.dtype)
    out[:, real] = values
    return out
