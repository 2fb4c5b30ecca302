"""`capture`: run a model over prompts and keep its residual states on disk, shard by shard.

At any moment the folder holds whole shards and an index of what they are of. A run that was killed
goes on where it was; a shard that is damaged or missing is made anew, and the rest stays. Memory
holds the states of two shards and the file of one, whatever the number of prompts.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.captures.ending import READOUT, digest_of, kept_readout
from lensdepth.captures.index import INDEX, Index, Shard, read_index, shard_name, tensor_name
from lensdepth.captures.opened import Capture, open_capture
from lensdepth.captures.shards import sums_of, write_shard
from lensdepth.captures.task_record import task_as_json
from lensdepth.devices import DTYPES
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.plain_runs import anew
from lensdepth.progress import counted
from lensdepth.prompts import gather_prompts
from lensdepth.tasks.task import Task
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions
from lensdepth.unfinished import LOCK, alone_in, sweep
from lensdepth.writing import writing_to

SHARD_BYTES = 2**27
"""States of one shard in float32."""
Side = Literal["clean", "corrupted"]


@checked
@bounded
def capture(
    model: DepthModel,
    task: Task | Prompts,
    folder: str | Path,
    *,
    depths: Sequence[int] | None = None,
    positions: Positions | Literal["input"] = "last",
    side: Side = "clean",
    readout: bool = False,
    shard_bytes: int = SHARD_BYTES,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Capture:
    """Keep the residual states of prompts in a folder, to be read without the model.

    Called again with the same arguments it completes what is there: after a kill it goes on, and
    shards that are missing or damaged are made anew.

    Args:
        model: any wrapped model.
        task: a task, one prompt or several, as text or token ids.
        folder: a new one, an empty one, or that of this capture.
        depths: which to keep, ascending; None: all of them.
        positions: as for `residual_stream`; of a task also `"input"`, its input positions.
        side: which prompts of a task's pairs.
        readout: keep the final norm and the unembedding beside the states, so that lenses and the
            coupling of angles with predictions can be read without the model. It takes what an
            unembedding takes, once.
        shard_bytes: states of one shard, in float32. A prompt's states stay together.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with in forward passes.
    Returns:
        Capture, which reads the states a part at a time. They are stored in the model's dtype, in
        which they were made.
    Raises:
        ValueError: before any forward pass: an option that does not fit, another run in the same
            folder, or a capture there of another model, of other prompts or settings.
        OSError: nothing can be written there.
    Example:
        >>> capture(model, load_task("months", model), "states").read(depths=[4]).shape
    """
    caller, place = "capture", Path(folder)
    if shard_bytes < 1:
        raise ValueError(f"{caller}: shard_bytes must be at least 1, got {shard_bytes}.")
    kept = _depths(depths, model.n_layers, caller)
    batch, asked, index = _planned(model, task, kept, positions, side, shard_bytes, caller=caller)
    with writing_to(place):
        place.mkdir(exist_ok=True)
    with alone_in(place, caller=caller):
        sweep(place)
        before = _found(place, index, caller=caller)
        index = replace(index, readout=before.readout if before else "")
        if before is None:
            index.save(place)
        if readout or index.readout:
            kept_as = _keep_readout(model, batch, index, place, caller)
            vocabulary = _texts(model, range(model.d_vocab))
            index = replace(index, readout=kept_as, vocabulary=vocabulary)
        done = replace(index, shards=_shards(model, batch, asked, index, place, batch_size))
        if before is None or (before.shards, before.readout) != (done.shards, done.readout):
            done.save(place)
    return open_capture(place)


def _shards(
    model: DepthModel,
    batch: TokenBatch,
    asked: Int[Tensor, "prompt pos"],
    index: Index,
    folder: Path,
    batch_size: int | None,
) -> tuple[Shard, ...]:
    """Every shard, made where it is not there whole; one is written while the next is computed."""
    names = [tensor_name(depth) for depth in index.depths]
    sums: list[dict[str, str]] = []
    writing: Future[dict[str, str]] | None = None
    with counted(len(batch), "capturing") as update, ThreadPoolExecutor(1) as writer:
        for number, (first, stop) in enumerate(index.spans):
            path = folder / shard_name(number)
            known = sums_of(path, names, index.identity)
            states = {}
            if known is None:
                rows = torch.arange(first, stop)
                states = _states(model, batch[rows], asked[rows], index, batch_size)
            if writing is not None:
                sums.append(writing.result())
                writing = None
            if known is None:
                writing = writer.submit(write_shard, path, states, index.identity)
            else:
                sums.append(known)
            update(stop - first)
        if writing is not None:
            sums.append(writing.result())
    return tuple(
        Shard(file=shard_name(number), first=first, stop=stop, sums=known)
        for number, ((first, stop), known) in enumerate(zip(index.spans, sums, strict=True))
    )


def _depths(depths: Sequence[int] | None, n_layers: int, caller: str) -> tuple[int, ...]:
    if depths is None:
        return tuple(range(n_layers + 1))
    given = list(depths)
    if not given or given != sorted(set(given)) or not 0 <= given[0] <= given[-1] <= n_layers:
        raise ValueError(
            f"{caller}: depths must ascend within 0...{n_layers} (n_layers), got {given}."
        )
    return tuple(given)


def _planned(
    model: DepthModel,
    task: Task | Prompts,
    depths: tuple[int, ...],
    positions: Positions | str,
    side: Side,
    shard_bytes: int,
    *,
    caller: str,
) -> tuple[TokenBatch, Int[Tensor, "prompt pos"], Index]:
    """Prompts, positions, and the index that says all of it, without shards."""
    known, texts, batch = gather_prompts(model, task)
    if side == "corrupted":
        if known is None or known.corrupted is None or known.corrupted_tokens is None:
            raise ValueError(f"{caller}: side='corrupted' needs a task of pairs; these are none.")
        texts, batch = list(known.corrupted), known.corrupted_tokens
    if isinstance(positions, str) and positions == "input":
        own = None
        if known is not None:
            corrupted = side == "corrupted"
            own = known.corrupted_input_positions if corrupted else known.input_positions
        if own is None:
            raise ValueError(f"{caller}: positions='input' needs a task with input positions.")
        positions = own
    asked = resolve_positions(batch, positions)  # type: ignore[arg-type]
    a_prompt = 4 * len(depths) * asked.shape[1] * model.d_model
    ids = sorted({token for i in range(len(batch)) for token in batch.row(i)})
    index = Index(
        model=model.info,
        prompts=tuple(texts),
        tokens=tuple(tuple(batch.row(i)) for i in range(len(batch))),
        positions=tuple(tuple(p for p in row if p >= 0) for row in asked.tolist()),
        depths=depths,
        dtype=next(name for name, dtype in DTYPES.items() if dtype == model.dtype),
        side=side,
        at_once=max(1, shard_bytes // a_prompt),
        task=None if known is None else task_as_json(known),
        vocabulary=_texts(model, ids),
    )
    return batch, asked, index


def _texts(model: DepthModel, ids: Iterable[int]) -> dict[str, str]:
    return {str(token): model.token_text(token) for token in ids}


def _found(folder: Path, index: Index, *, caller: str) -> Index | None:
    """The index of the same capture that is there already; None in an empty folder.

    Raises:
        ValueError: the folder holds something else, or a capture of something else.
    """
    if not (folder / INDEX).is_file():
        others = sorted(file.name for file in folder.iterdir() if file.name != LOCK)
        ours = all(name.startswith("shard-") or name == READOUT for name in others)
        if others and not ours:
            raise ValueError(
                f"{caller}: {shown(str(folder))} holds other files ({shown(others[0])}) and no "
                f"capture; name a new folder."
            )
        return None
    before = read_index(folder, caller=caller)
    differs = index.other_than(before)
    if differs:
        raise ValueError(
            f"{caller}: {shown(str(folder))} holds a capture {differs}. The two do not mix; name "
            f"another folder, or remove that one."
        )
    return before


def _keep_readout(
    model: DepthModel, batch: TokenBatch, index: Index, folder: Path, caller: str
) -> str:
    """Write the readout, unless it is there whole; its checksum."""
    path = folder / READOUT
    if index.readout and digest_of(path) == index.readout:
        return index.readout
    states = model.residual_stream(batch[:1], "last").resid
    return kept_readout(model, states, caller=caller).save(path)


def _states(
    model: DepthModel,
    batch: TokenBatch,
    asked: Int[Tensor, "prompt pos"],
    index: Index,
    batch_size: int | None,
) -> dict[str, Tensor]:
    """The states of one shard, in the dtype in which they are kept."""
    width = max(1, int((asked >= 0).sum(1).max()))
    hooks = {tensor_name(depth): model.passes.depth_hooks[depth] for depth in index.depths}
    # The same numbers whatever was read before, so that a shard can be made again.
    with anew():
        read = model.read(batch, [*hooks.values()], asked[:, :width], batch_size=batch_size)
    return {name: read[hook].to(DTYPES[index.dtype]).contiguous() for name, hook in hooks.items()}
