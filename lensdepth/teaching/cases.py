"""Planted models ready to be measured: each with its task, from a folder that is thrown away.

Sharp: one block moves what the input says to the last token. Spread: several blocks do, another one
for each input word. Deaf: none does, and the answer is always the same. Gate: the input's *norm*
decides, for some blocks; see `planted.gate`. Backup: four blocks do the same work, of which any one
is enough; see `planted.backup`.
"""

import tempfile
from pathlib import Path
from typing import Literal, get_args

from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.tasks import Task, load_task
from lensdepth.teaching import planted

Kind = Literal["sharp", "spread", "deaf", "gate", "backup"]
N_LAYERS = 10
MIDDLE = N_LAYERS // 2
N_ALIKE = 4
"""Blocks of which any one is enough; the next one does something else."""
NOISE = 0.3
"""Length of the random function of the state that each block adds; embeddings have length 3."""
PAIRS = [(a, (a + 1 + a % 3) % (2 * planted.N)) for a in range(2 * planted.N)]
KINDS = [(a, a + planted.N) for a in range(planted.N)]
"""Pairs of one input of either kind, which the gate tells apart."""


def planted_case(kind: Kind, *, seed: int = 0) -> tuple[DepthModel, Task]:
    """A model of ten blocks whose answer to our question is known, and its task.

    Args:
        kind: what was planted.
        seed: of the noise; gate and backup have none.
    Raises:
        ValueError: there is no such kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(
            f"planted_case: kind must be one of {', '.join(get_args(Kind))}, got {kind!r}."
        )
    outputs, pairs = list(range(2 * planted.N)), PAIRS
    if kind == "gate":
        outputs = [0] * planted.N + [1] * planted.N
        pairs = [*KINDS, *((b, a) for a, b in KINDS)]
    elif kind == "backup":
        outputs = [*range(planted.N), *[planted.N] * planted.N]
        pairs = KINDS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if kind == "sharp":
            planted.switch(folder, n_layers=N_LAYERS, layer=MIDDLE, noise=NOISE, seed=seed)
        elif kind == "spread":
            blocks = {i: 1 + i * (N_LAYERS - 2) // len(outputs) for i in outputs}
            planted.switch(folder, n_layers=N_LAYERS, layer=blocks, noise=NOISE, seed=seed)
        elif kind == "deaf":
            planted.deaf(folder, n_layers=N_LAYERS, noise=NOISE, seed=seed)
        elif kind == "backup":
            alike = range(2, 2 + N_ALIKE)
            planted.backup(folder, n_layers=N_LAYERS, layers=alike, other=2 + N_ALIKE)
        else:
            planted.gate(folder, n_layers=N_LAYERS, stretch=2, weigh=N_LAYERS - 3)
        model = load_model(folder, name=f"planted: {kind}")
        prompts = planted.prompt_file(folder / "pairs.csv", pairs, outputs, planted.WORDINGS)
        task = load_task(prompts, model, keep="all" if kind == "deaf" else "correct")
    return model, task
