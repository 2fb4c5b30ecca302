"""The replay engine on a real model, beside one plain pass with plain hooks for every edit."""

import torch

from lensdepth.model import DepthModel
from lensdepth.patching import patch_sweep
from lensdepth.tasks import Task, load_task
from real.plain import Plain

PAIRS = [
    {
        "clean": "Then Anna and Paul had a letter, and Paul gave it to",
        "corrupted": "Then Anna and Paul had a letter, and Anna gave it to",
        "target": " Anna",
        "foil": " Paul",
        "input": "Paul",
        "corrupted_input": "Anna",
    },
    {
        "clean": "After David and James went to the store, David gave a ticket to",
        "corrupted": "After David and James went to the store, James gave a ticket to",
        "target": " James",
        "foil": " David",
        "input": "David",
        "corrupted_input": "James",
    },
]
"""Of different lengths, so that the engine's batches are ragged."""
DEPTHS = (0, 11, 22, 24, 29)
IN_NATS = 2e-3


def answers(plain: Plain, task: Task, pair: int) -> tuple[int, int]:
    return plain.ids(str(task.target[pair]))[0], plain.ids(str(task.foil[pair]))[0]  # type: ignore[index]


def test_a_patch_anywhere_is_what_a_plain_hook_does(real: DepthModel, plain: Plain) -> None:
    task = load_task(PAIRS, real)
    found = [
        patch_sweep(
            real, task.select(slice(i, i + 1)), positions="all", depths=DEPTHS, also=(), controls=()
        ).effects
        for i in range(len(task))
    ]
    moved = 0.0  # the largest effect
    for pair in range(len(task)):
        clean, corrupted = task.clean[pair], task.corrupted[pair]  # type: ignore[index]
        target, foil = answers(plain, task, pair)
        given, base = plain.states(clean), plain.log_probs(corrupted)
        # Where the prompts are still alike nothing moves; from there on, every token.
        n = given.shape[1]
        first = next(p for p in range(n) if plain.ids(clean)[p] != plain.ids(corrupted)[p])
        assert found[pair][0, :, :first].abs().max() < IN_NATS
        for at, depth in enumerate(DEPTHS):
            for position in range(first, n):
                edited = plain.log_probs(corrupted, {(depth, position): given[depth, position]})
                effect = float((edited - base)[target] - (edited - base)[foil])
                assert abs(effect - float(found[pair][0, at, position])) < IN_NATS
                moved = max(moved, abs(effect))
    assert moved > 1


def test_a_direction_alone_and_a_norm_alone_as_well(real: DepthModel, plain: Plain) -> None:
    task = load_task(PAIRS, real)
    for edit in ("direction", "norm"):
        found = patch_sweep(
            real, task, positions=("prediction",), depths=DEPTHS, edit=edit, also=(), controls=()
        ).effects
        for pair in range(len(task)):
            clean, corrupted = task.clean[pair], task.corrupted[pair]  # type: ignore[index]
            target, foil = answers(plain, task, pair)
            base = plain.log_probs(corrupted)
            given, there = plain.states(clean)[:, -1], plain.states(corrupted)[:, -1]
            for at, depth in enumerate(DEPTHS):
                turned, kept = (given, there) if edit == "direction" else (there, given)
                state = turned[depth] / turned[depth].norm() * kept[depth].norm()
                edited = plain.log_probs(corrupted, {(depth, len(plain.ids(corrupted)) - 1): state})
                effect = (edited - base)[target] - (edited - base)[foil]
                torch.testing.assert_close(
                    found[pair, at, 0].double(), effect, rtol=0, atol=IN_NATS
                )
