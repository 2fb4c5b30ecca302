"""What each view asks of the library, as data: run by the page, and written out as a program.

A question is a call of a public function; its arguments are plain values and other questions.
`cards` says how the answers are drawn and tabulated. `script` writes the same calls down, so that
page and program cannot differ.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from lensdepth.edits import STRONG_EDITS
from lensdepth.explorer.shelf import Answer, Shelf, in_background
from lensdepth.explorer.state import Screen
from lensdepth.plain_runs import kept_in
from lensdepth.progress import Watcher

MODEL, TASK = "load_model", "load_task"
"""What the server looks up among its offers, by name."""
ZONE_PROMPTS = 60
"""Prompts of the task whose lens says where the switch is."""
EXAMPLES = 12
TUNED_STEPS = 100


@dataclass(frozen=True)
class Question:
    """A call of a public function: one of `lensdepth.__all__`."""

    name: str
    """What its result is called in a program."""
    function: str
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def parts(self) -> Iterator["Question"]:
        """The questions among its arguments."""
        for value in (*self.arguments, *(value for _, value in self.options)):
            yield from (item for item in _items(value) if isinstance(item, Question))

    @property
    def model(self) -> str | None:
        """The name of the model that it runs, if it runs one itself."""
        if self.function in (MODEL, "compare_lenses", "find_transition", "find_crossing"):
            return None
        return next((p.arguments[0] for p in self.parts if p.function == MODEL), None)


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def ask(name: str, function: str, *arguments: Any, **options: Any) -> Question:
    """A question, its options in order."""
    return Question(name, function, arguments, tuple(options.items()))


def key_of(question: Question, shelf: Shelf) -> str:
    """What tells a question from all others: the model's weights and every argument."""
    return hashlib.sha256(_spelled(question, shelf).encode()).hexdigest()


def _spelled(value: Any, shelf: Shelf) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_spelled(item, shelf) for item in value) + ")"
    if not isinstance(value, Question):
        return repr(value)
    if value.function == MODEL:
        info = shelf.model(value.arguments[0]).info
        return f"{info.name} {info.fingerprint} {info.backend} {info.dtype} {info.device}"
    arguments = (*value.arguments, *value.options)
    return f"{value.function}{_spelled(arguments, shelf)}"


def answer(question: Question, shelf: Shelf, watcher: Watcher | None = None) -> Answer:
    """The answer to a question, found by the library where it is not known.

    Args:
        question: any.
        shelf: of models and answers.
        watcher: told of every part of a long analysis, between which others may use the model;
            None for somebody who waits.
    """
    if question.function == MODEL:
        return Answer(value=shelf.model(question.arguments[0]))
    # The parts first: nobody may hold a model while waiting for what needs it.
    notes: list[str] = []

    def resolved(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(resolved(item) for item in value)
        if not isinstance(value, Question):
            return value
        part = answer(value, shelf, watcher)
        notes.extend(note for note in part.notes if note not in notes)
        return part.value

    arguments = [resolved(value) for value in question.arguments]
    options = {name: resolved(value) for name, value in question.options}
    if question.function == TASK:
        offered = dict(shelf.offers.tasks[question.arguments[0]])
        arguments = [offered.pop("name_or_path"), arguments[1]]
        options = {**offered, **options}

    def find() -> Any:
        call = getattr(import_module("lensdepth"), question.function)
        if question.model is None:
            return call(*arguments, **options)
        turn = shelf.turn(question.model)
        if watcher is None:
            texts = tuple(text for text in question.arguments if isinstance(text, str))
            with turn.first(), kept_in(shelf.runs(question.model, texts)):
                return call(*arguments, **options)
        with in_background(turn, watcher):
            return call(*arguments, **options)

    def check() -> None:
        if watcher is not None:
            watcher("waiting for another page's analysis", 0, 0)

    found = shelf.answer(key_of(question, shelf), find, check)
    return replace(found, notes=tuple(dict.fromkeys([*notes, *found.notes])))


def known(question: Question, shelf: Shelf) -> bool:
    """Whether the answer is there already."""
    return shelf.known(key_of(question, shelf))


# What the views ask


def model_of(screen: Screen) -> Question:
    """The model of the page."""
    return ask("model", MODEL, screen.model)


def task_of(screen: Screen, n: int, *, keep: str = "all") -> Question:
    """Some pairs of the task."""
    return ask("task", TASK, screen.task, model_of(screen), n=n, keep=keep)


def pair_of(screen: Screen) -> Question:
    """The two prompts of the page: the source is clean, the base prompt corrupted."""
    known = given_answers(screen.target, screen.foil)
    return ask("pair", "pair_task", screen.source, screen.prompt, model_of(screen), **known)


def given_answers(target: str | int, foil: str | int) -> dict[str, str | int]:
    """Arguments of `pair_task`: answers as text or as token ids, or none where they are open."""
    return {
        name if isinstance(answer, str) else f"{name}_id": answer
        for name, answer in (("target", target), ("foil", foil))
        if answer != ""
    }


def zone_of(screen: Screen) -> Question:
    """Where the lens of the task switches."""
    task = task_of(screen, ZONE_PROMPTS)
    lens = ask("task_lens", "logit_lens", model_of(screen), task)
    return ask("transition", "find_transition", lens)


def tuned_of(screen: Screen) -> Question:
    """A tuned lens, fitted on prompts of the task."""
    task = task_of(screen, 200)
    return ask("tuned", "fit_tuned_lens", model_of(screen), task, n_steps=TUNED_STEPS)


def lens_of(screen: Screen, *, prompt: str | None = None, model: str | None = None) -> Question:
    """The lens of one prompt, at every token."""
    whose = model_of(screen) if model is None else ask("other", MODEL, model)
    options: dict[str, Any] = {"positions": "all", "top_k": 10}
    if screen.lens == "tuned" and model is None:
        options["translators"] = tuned_of(screen)
    text = screen.prompt if prompt is None else prompt
    return ask("lens", "logit_lens", whose, text, **options)


def table_of_pairs(screen: Screen) -> Question:
    """All pairs of the task, right and wrong."""
    return ask("pairs", "pair_table", model_of(screen), task_of(screen, screen.rows))


def written_of(screen: Screen) -> Question:
    """What the model writes, with Poke's edit held on where that is asked for."""
    options: dict[str, Any] = {"n_tokens": screen.length}
    if screen.held != "none":
        options |= held_edit(screen)
    return ask("written", "generation_profile", model_of(screen), screen.prompt, **options)


def held_edit(screen: Screen) -> dict[str, Any]:
    """Poke's edit in the scope that is looked at closely, as arguments of a held one."""
    assert screen.depth is not None
    low, high = sorted((screen.depth, screen.depth if screen.last is None else screen.last))
    whole = slice(None) if screen.last is None else slice(low, high + 1)
    scopes: dict[str, int | slice] = {
        "local": screen.depth, "suffix": slice(screen.depth, None), "window": whole,
    }  # fmt: skip
    options = {
        "depths": scopes[screen.focus], "positions": screen.places, **edit_of(screen)
    }  # fmt: skip
    if STRONG_EDITS[screen.edit].needs == "source" and screen.source:
        options["source"] = screen.source
    if screen.held == "onward":
        options["onward"] = True
    return options


def edit_of(screen: Screen) -> dict[str, Any]:
    """Poke's edit and what of a state it edits, as arguments."""
    options: dict[str, Any] = {}
    if screen.stream != "resid_pre":
        options["stream"] = screen.stream
    if screen.stream == "z" and screen.head is not None:
        options["head"] = screen.head
    options |= {"edit": screen.edit, "strength": screen.dose}
    if STRONG_EDITS[screen.edit].needs == "reference":
        options["reference"] = task_of(screen, 40)
    return options


def followed_of(screen: Screen) -> Question:
    """One token of the vocabulary at every depth, behind the chosen token."""
    # A · in front stands for a space, as it does wherever the page shows a token.
    text = " " + screen.follow[1:] if screen.follow.startswith("·") else screen.follow
    options: dict[str, Any] = {"positions": (screen.position,), "follow": (text,)}
    if screen.lens == "tuned":
        options["translators"] = tuned_of(screen)
    return ask("followed", "logit_lens", model_of(screen), screen.prompt, **options)


def moved_of(screen: Screen) -> Question:
    """What Move shows: a state of one prompt's run put into one of them."""
    prompts, answers = [screen.prompt, screen.source], [screen.target, screen.foil]
    if screen.taker == "source":
        prompts, answers = prompts[::-1], answers[::-1]
    options: dict[str, Any] = {
        "depth": screen.into_depth,
        "positions": (screen.into_position,),
        "scopes": ("local",),
        "given_by": "base" if screen.giver == screen.taker else "source",
        "source_depth": screen.from_depth,
        "source_positions": (screen.from_position,),
        "edit": screen.carried,
    }
    if screen.target != "":
        options["answers"] = tuple(answers)
    given = [prompt for prompt in prompts if prompt.strip()]
    return ask("moved", "intervene", model_of(screen), *given, **options)


def intervention_of(screen: Screen) -> Question:
    """What Poke shows."""
    assert screen.depth is not None
    options: dict[str, Any] = {"depth": screen.depth, "positions": screen.places}
    if screen.last is not None and screen.last != screen.depth:
        options["window"] = tuple(sorted((screen.depth, screen.last)))
    options |= edit_of(screen)
    if screen.target != "":
        options["answers"] = (screen.target, screen.foil)
    prompts = [screen.prompt, *([screen.source] if screen.source else [])]
    return ask("found", "intervene", model_of(screen), *prompts, **options)
