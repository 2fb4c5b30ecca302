"""Checkpoints that training leaves behind: at which steps, and a model folder for each.

They are what `training_dynamics` reads. Each is a Hugging Face folder by itself, in float16 like
the model at the end; none of them is needed to go on from.
"""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lensdepth.writing import whole_files

if TYPE_CHECKING:
    from lensdepth.bundled.train import Design

KEEP = 20
"""Checkpoints by default: step 0, and the others evenly over the logarithm of the step."""
SPAN = 256
"""The last of those steps over the first: before that, the warm-up has not moved much."""
FOLDER = "checkpoints"


def kept_steps(steps: int, keep: int = KEEP) -> list[int]:
    """Steps after which a checkpoint is kept, the first and the last among them; fewer where
    steps are few.

    Args:
        steps: of the whole training.
        keep: how many; 0 for none.
    Raises:
        ValueError: 1, which is no course, or fewer than none.
    """
    if keep < 0 or keep == 1:
        raise ValueError(f"train: keep must be 0 (no checkpoints) or 2 and more, got {keep}.")
    if keep == 0:
        return []
    n = keep - 2
    spaced = [steps * min(SPAN, steps) ** (-i / max(n, 1)) for i in range(n + 1)]
    return [0, *sorted({round(step) for step in spaced} - {0})]


def checkpoint_folder(out: Path, step: int) -> Path:
    """Where the checkpoint of a step is kept."""
    return out / FOLDER / f"step-{step}"


def keep_checkpoint(
    out: Path,
    step: int,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    design: "Design",
) -> None:
    """Write a model as it is after a step, whole or not at all."""
    place = checkpoint_folder(out, step)
    place.parent.mkdir(exist_ok=True)
    with whole_files(place) as (folder,):
        copy.deepcopy(model).half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        facts = {"step": step, "design": asdict(design)}
        (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


def check_kept(out: Path, steps: list[int], first: int) -> None:
    """Refuse to go on with a run that has not kept what is to be kept of its part so far.

    Raises:
        ValueError: a checkpoint before the step to go on from is missing.
    """
    for step in steps:
        if step <= first and first > 0 and not checkpoint_folder(out, step).is_dir():
            raise ValueError(
                f"train: {out} is at step {first} and kept no checkpoint of step {step}; go on "
                f"with the --keep that it was begun with, or choose another --out."
            )
