"""Direct logit attribution: what each head, MLP, embedding and bias adds to an answer's logit.

Reach for this to see which components write the answer themselves. What a component does through
later ones is not in it; `patch_sweep` and `patch_components` measure that.

The last state is a sum of what every component wrote. With the scale of the final norm frozen at
what the run has, the logits are linear in that sum (before a cap), so they fall into parts that
add up exactly; the run checks that they do. TransformerLens's `logit_attrs` divides by the scale
and leaves weight and bias of the norm out, since it folds them; on raw weights its parts do not
add up (3.9 and 4.3).
"""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.circuit.attribution_profile import AttributionProfile
from lensdepth.circuit.frozen import LINEAR_TOLERANCE, attention_write, final_norm, output_weights
from lensdepth.model import DepthModel
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import make_provenance
from lensdepth.site import site_hook
from lensdepth.sweep.choices import check_stream
from lensdepth.tasks.joining import Joined
from lensdepth.tasks.locate import REMEDY, answer_tokens, settle_joining
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch

Answers = Sequence[str | int]


@renamed(prompts="task")
@checked
@bounded
def attribute_logits(
    model: DepthModel,
    task: Task | Prompts,
    *,
    answers: Answers | None = None,
    foils: Answers | None = None,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> AttributionProfile:
    """Split an answer's logit at each prompt's last token into what every component adds to it.

    With foils it is logit(target) - logit(foil); without, the logit of the answer less the mean
    logit of the vocabulary, since logits alone have no zero. Both are taken before the cap or the
    scale that some models put on their logits. A head's part holds its value bias, an MLP's its
    own bias and norm.

    Args:
        model: any wrapped model.
        task: a task (its clean prompts, with target and foil), or plain prompts.
        answers: one for each plain prompt, as text with the space in front that it has, or as token
            id; by default what the model itself finds most likely.
        foils: one for each plain prompt, to be compared with the answers.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        AttributionProfile; its parts add up to `logit_diff`.
    Raises:
        ValueError: answers for a task, not one answer a prompt, an answer that is not one token,
            or a model whose parts do not add up to its logits.
    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Wang et al.
        2022, arXiv 2211.00593.
    Example:
        >>> attribute_logits(model, task).heads.mean(-1)  # [layer, head]
    """
    caller = "attribute_logits"
    for stream in ("z", "attn_out", "mlp_out"):
        check_stream(model, stream, caller=caller)
    known, texts, batch = gather_prompts(model, task)
    if known is not None and known.target_ids is not None:
        if answers is not None or foils is not None:
            raise ValueError(
                f"{caller}: task {known.name!r} has its own answers; leave out answers and foils, "
                f"or give its prompts as a list."
            )
        target, foil = known.target_ids, known.foil_ids
    else:
        written = _written(task, texts)
        joining = _joining(model, written, answers, foils)
        target = _answer_ids(model, written, answers, "answers", joining)
        foil = _answer_ids(model, written, foils, "foils", joining)
    own_answers = target is None
    states = model.residual_stream(batch, batch_size=batch_size).resid[:, :, 0]
    if target is None:
        target = model.readout(states[-1]).argmax(-1)
    own = _own_difference(model, states[-1], target, foil)

    last = states[-1].double()
    norm = final_norm(model, last)
    direction, constant = _answer_direction(model, target, foil)
    slope = norm.pull_back(direction)

    heads, attn_bias, mlps = _layer_parts(model, batch, slope, batch_size)
    embedded = states[0].double()
    positional = _positional_part(model, batch, embedded, slope, batch_size)
    embed = (embedded * slope).sum(-1)
    profile = AttributionProfile(
        provenance=make_provenance(
            caller,
            model.info,
            **origin_of(known, texts),
            settings={
                "answers": "own" if own_answers else "given",
                "foils": None if foil is None else "given",
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
        ),
        targets=tuple(model.token_text(token) for token in target.tolist()),
        foils=None if foil is None else tuple(model.token_text(t) for t in foil.tolist()),
        logit_diff=own.float(),
        embed=(embed if positional is None else embed - positional).float(),
        pos_embed=None if positional is None else positional.float(),
        heads=heads.float(),
        attn_bias=attn_bias.float(),
        mlps=mlps.float(),
        norm_bias=(direction @ norm.bias).float(),
        unembed_bias=constant.float(),
    )
    _check_sum(model, profile)
    return profile


def _written(prompts: Task | Prompts, texts: Sequence[str]) -> list[str | None]:
    """Each prompt as text; None where it came as token ids."""
    if isinstance(prompts, Task | str):
        return list(texts)
    given = [None] * len(texts) if isinstance(prompts, TokenBatch) else prompts
    return [prompt if isinstance(prompt, str) else None for prompt in given]


def _joining(model: DepthModel, prompts: Sequence[str | None], *given: Answers | None) -> Joined:
    """How all answers and foils follow that are texts behind texts."""
    found = [
        (prompt, answer)
        for answers in given
        for prompt, answer in zip(
            prompts, [answers] if isinstance(answers, str) else answers or (), strict=False
        )
        if isinstance(prompt, str) and isinstance(answer, str)
    ]
    return settle_joining(
        model.tokenizer,
        [prompt for prompt, _ in found],
        [answer for _, answer in found],
        caller="attribute_logits",
        remedy=REMEDY,
    )


def _answer_ids(
    model: DepthModel,
    prompts: Sequence[str | None],
    given: Answers | None,
    name: str,
    joining: Joined,
) -> Int[Tensor, " prompt"] | None:
    """The token of each answer; None where none are given."""
    if given is None:
        return None
    answers = [given] if isinstance(given, str) else list(given)
    if len(answers) != len(prompts):
        raise ValueError(
            f"attribute_logits: one answer a prompt is needed, got {len(answers)} {name} for "
            f"{len(prompts)} prompts."
        )
    ids: list[int] = []
    for i, (answer, prompt) in enumerate(zip(answers, prompts, strict=True)):
        if isinstance(answer, str):
            if prompt is None:
                raise ValueError(
                    f"attribute_logits: {name}[{i}] is text, {answer!r}, and its prompt token ids; "
                    f"give both as text or both as ids."
                )
            found = answer_tokens(model.tokenizer, [prompt], [answer], joining)[0]
            if isinstance(found, str):
                raise ValueError(
                    f"attribute_logits: {name}[{i}], {answer!r}, is not one token: {found}. "
                    f"Give another word or a token id."
                )
            answer = found
        if not 0 <= answer < model.d_vocab:
            raise ValueError(
                f"attribute_logits: {name}[{i}] is token {answer}; the model has "
                f"{model.d_vocab} tokens, from 0."
            )
        ids.append(answer)
    return torch.tensor(ids)


def _own_difference(
    model: DepthModel,
    last: Float[Tensor, "prompt d_model"],
    target: Int[Tensor, " prompt"],
    foil: Int[Tensor, " prompt"] | None,
) -> Float[Tensor, " prompt"]:
    """What the parts must add up to, by the model's own norm and unembedding."""
    if foil is not None:
        logits = model.readout(last, torch.stack([target, foil], dim=1), linear=True).double()
        return logits[:, 0] - logits[:, 1]
    found = [
        logits.gather(-1, token[:, None])[:, 0] - logits.mean(-1)
        for rows, token in zip(last.split(64), target.split(64), strict=True)
        for logits in [model.readout(rows, linear=True).double()]
    ]
    return torch.cat(found)


def _answer_direction(
    model: DepthModel, target: Int[Tensor, " prompt"], foil: Int[Tensor, " prompt"] | None
) -> tuple[Float[Tensor, "prompt d_model"], Float[Tensor, " prompt"]]:
    """The direction whose product with the normed state is the difference, and its constant."""
    weight, bias = model.unembedding()
    ids = target.to(weight.device)
    if foil is None:
        direction = weight[ids].cpu().double() - _mean_row(weight)
    else:
        against = weight[foil.to(weight.device)]
        direction = weight[ids].cpu().double() - against.cpu().double()
    constant = torch.zeros(len(target), dtype=torch.float64)
    if bias is not None:
        wide = bias.detach().cpu().double()
        constant = wide[target] - (wide.mean() if foil is None else wide[foil])
    return direction.detach(), constant


def _mean_row(weight: Float[Tensor, "d_vocab d_model"]) -> Float[Tensor, " d_model"]:
    """Mean over the vocabulary in float64, without a float64 copy of the matrix."""
    return torch.stack([part.cpu().double().sum(0) for part in weight.split(4096)]).sum(0) / len(
        weight
    )


def _layer_parts(
    model: DepthModel,
    batch: TokenBatch,
    slope: Float[Tensor, "prompt d_model"],
    batch_size: int | None,
) -> tuple[
    Float[Tensor, "layer head prompt"], Float[Tensor, "layer prompt"], Float[Tensor, "layer prompt"]
]:
    """Parts of the heads, of the attentions' biases and of the MLPs."""

    def read(stream: str) -> Float[Tensor, "layer prompt d_hook"]:
        hooks = [site_hook(stream, layer) for layer in range(model.n_layers)]  # type: ignore[arg-type]
        return model.activations(batch, hooks, batch_size=batch_size)[:, :, 0].double()

    z, written = read("z"), read("attn_out")
    heads, biases = [], []
    for layer in range(model.n_layers):
        weight, bias = output_weights(model, layer)
        by_head = rearrange(z[layer], "p (h d) -> p h d", h=len(weight))
        summed = einsum(by_head, weight, "p h d, h d m -> p m") + bias
        between = attention_write(model, layer, summed, written[layer])
        pulled = between.pull_back(slope)
        heads.append(einsum(by_head, weight, pulled, "p h d, h d m, p m -> h p"))
        biases.append(pulled @ bias + slope @ between.bias)
    mlps = einsum(read("mlp_out"), slope, "l p m, p m -> l p")
    return torch.stack(heads), torch.stack(biases), mlps


def _positional_part(
    model: DepthModel,
    batch: TokenBatch,
    embedded: Float[Tensor, "prompt d_model"],
    slope: Float[Tensor, "prompt d_model"],
    batch_size: int | None,
) -> Float[Tensor, " prompt"] | None:
    """What learned positions add; None where the model has none."""
    if not model.passes.learns_positions:
        return None
    token = model.activations(batch, ["hook_embed"], batch_size=batch_size)[0, :, 0].double()
    return ((embedded - token) * slope).sum(-1)


def _check_sum(model: DepthModel, profile: AttributionProfile) -> None:
    """Refuse parts that do not add up.

    Raises:
        ValueError: they miss the model's own difference by more than rounding explains.
    """
    largest = profile.values.abs().amax(0).maximum(profile.logit_diff.abs())
    allowed = LINEAR_TOLERANCE.get(model.dtype, 1e-4) * largest
    missed = profile.residual.abs()
    if not bool((missed <= allowed).all()):
        prompt = int((missed - allowed).nan_to_num(nan=torch.inf).argmax())
        raise ValueError(
            f"attribute_logits: the parts of {model.info.name!r} add up to "
            f"{float(profile.values[:, prompt].sum()):.4g} at prompt {prompt}, where its logits "
            f"give {float(profile.logit_diff[prompt]):.4g}: this architecture (or an edit that is "
            f"at work in it) adds something that is no head, MLP, embedding or bias, so it cannot "
            f"be split."
        )
