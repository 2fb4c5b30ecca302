"""From what was asked for to what can be shown: gaps filled, sites moved onto the prompt."""

from dataclasses import dataclass, replace

from lensdepth.edits import STRONG_EDITS
from lensdepth.explorer import questions
from lensdepth.explorer.notes import SCOPES
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen, task_name
from lensdepth.model import DepthModel
from lensdepth.site import Stream, last_place, site_hook
from lensdepth.tasks.joining import follow
from lensdepth.tasks.locate import answer_tokens, guess_joining
from lensdepth.tasks.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What a page needs to know of its model and prompt."""

    screen: Screen
    """With nothing left open."""
    n_layers: int
    n_heads: int
    tokens: tuple[str, ...]
    """Of the base prompt."""
    source_tokens: tuple[str, ...]
    """Of the source prompt; none where there is none."""
    examples: tuple[tuple[str, str, str, str], ...]
    """Base and source prompts with the answers to both."""
    streams: tuple[Stream, ...]
    """Which streams this architecture has."""
    unknown: tuple[str, ...]
    """Words of both prompts that the tokenizer does not know."""


def settle(screen: Screen, shelf: Shelf) -> Setting:
    """Fill what is open, and move sites that are not there to the nearest one.

    Raises:
        ValueError: the model or the task cannot be loaded, or a prompt cannot be read.
    """
    model = shelf.model(screen.model)
    task: Task = questions.answer(questions.task_of(screen, questions.EXAMPLES), shelf).value
    examples = _examples(task)
    if not screen.prompt.strip():
        first = examples[0]
        screen = replace(screen, prompt=first[0], source=screen.source or first[1])
    target, foil = _answers(screen, task, model)
    if target == "" and screen.target != "" and screen.rows != questions.EXAMPLES:
        # A pair of the table, which is longer than the examples.
        table: Task = questions.answer(questions.task_of(screen, screen.rows), shelf).value
        target, foil = _answers(screen, table, model)
    screen = replace(screen, target=target, foil=foil)
    theirs: tuple[str, ...] = ()
    # Tokens need no run of the model: who reads them waits for nobody's turn.
    tokens = tuple(model.str_tokens(screen.prompt))
    lacking = [*model.unknown_words(screen.prompt).values()]
    if screen.source.strip():
        theirs = tuple(model.str_tokens(screen.source))
        lacking += model.unknown_words(screen.source).values()
    if screen.view == "compare":
        screen = _with_other(screen, shelf, examples)
    return Setting(
        screen=_within_both(
            _on_the_prompt(screen, model, len(tokens)), model, len(tokens), len(theirs)
        ),
        n_layers=model.n_layers,
        n_heads=model.info.n_heads,
        tokens=tokens,
        source_tokens=theirs,
        examples=examples,
        streams=tuple(s for s in STREAMS if site_hook(s, 0) in model.hook_points),
        unknown=tuple(dict.fromkeys(lacking)),
    )


def opened(screen: Screen, shelf: Shelf) -> Screen:
    """A screen as a page shows it; what comes from elsewhere may have left things open."""
    ends = (screen.from_depth, screen.into_depth) if screen.view == "move" else ()
    if None in (screen.depth, *ends) or not screen.prompt.strip():
        return settle(screen, shelf).screen
    return screen


def is_of_task(prompt: str, task: Task) -> bool:
    """Whether a prompt is worded as those of a task: each word stands at its place in one of them
    that has as many words."""
    words = prompt.split()
    texts = (text.split() for text in (*task.clean, *(task.corrupted or ())))
    alike = [other for other in texts if len(other) == len(words)]
    return bool(alike) and all(
        any(other[i] == word for other in alike) for i, word in enumerate(words)
    )


STREAMS: tuple[Stream, ...] = ("resid_pre", "attn_out", "mlp_out", "z")
"""The streams that Poke and Sweep offer."""


def _examples(task: Task) -> tuple[tuple[str, str, str, str], ...]:
    if task.corrupted is None or task.target is None or task.foil is None:
        return tuple((prompt, "", "", "") for prompt in task.clean)
    # The corrupted prompt is the base of an intervention, the clean one its source.
    return tuple(zip(task.corrupted, task.clean, task.foil, task.target, strict=True))


def _answers(screen: Screen, task: Task, model: DepthModel) -> tuple[str | int, str | int]:
    """The task's answers to source and base, where the two are a pair of it, either way round."""
    for i, (clean, corrupted) in enumerate(zip(task.clean, task.corrupted or (), strict=False)):
        if (screen.prompt, screen.source) in ((corrupted, clean), (clean, corrupted)):
            target, foil = _spelled(task, i, model)
            return (target, foil) if screen.source == clean else (foil, target)
    return "", ""


def _spelled(task: Task, i: int, model: DepthModel) -> tuple[str | int, str | int]:
    """The answers of one pair so that they are the task's tokens for this pair alone as well."""
    assert task.corrupted is not None
    assert task.target is not None
    assert task.foil is not None
    assert task.target_ids is not None
    assert task.foil_ids is not None
    prompts, written = (task.clean[i], task.corrupted[i]), (task.target[i], task.foil[i])
    tokens = [int(task.target_ids[i]), int(task.foil_ids[i])]
    joining = task.joining or "literal"
    spelled = [follow(*pair, joining) for pair in zip(prompts, written, strict=True)]
    for texts in (written, spelled):
        guess = guess_joining(model.tokenizer, prompts, texts)
        if guess.said:
            continue
        if answer_tokens(model.tokenizer, prompts, texts, guess.joining) == tokens:
            return texts[0], texts[1]
    return tokens[0], tokens[1]


def _with_other(
    screen: Screen, shelf: Shelf, examples: tuple[tuple[str, str, str, str], ...]
) -> Screen:
    """What Compare compares with, where that is open."""
    if screen.against == "prompt":
        other = screen.other_prompt or screen.source or examples[-1][0]
        shelf.model(screen.model).tokenize(other)
        return replace(screen, other_prompt=other)
    names = [name for name in shelf.offers.models if name != screen.model]
    other = screen.other_model or (names or [screen.model])[0]
    shelf.model(other)
    return replace(screen, other_model=other)


def _on_the_prompt(screen: Screen, model: DepthModel, n_tokens: int) -> Screen:
    """Sites within the model and the prompt."""
    last = n_tokens - 1
    position = last if not 0 <= screen.position <= last else screen.position
    to = position if screen.position < 0 else min(max(screen.to, position), last)
    deepest = last_place(screen.stream, model.n_layers)
    depth = _usual_depth(model) if screen.depth is None else screen.depth
    depth = min(max(depth, 0), deepest)
    window = None if screen.last is None else min(max(screen.last, 0), deepest)
    n_heads = model.info.n_heads
    head = None
    if screen.stream == "z" and screen.head is not None:
        head = min(max(screen.head, 0), n_heads - 1)
    return replace(
        screen,
        position=position,
        to=to,
        depth=depth,
        last=None if window == depth else window,
        head=head,
        layer=min(max(screen.layer, 0), model.n_layers - 1),
        looked=min(max(screen.looked, 0), n_heads - 1),
    )


def _usual_depth(model: DepthModel) -> int:
    """Two thirds up, most models have formed an answer that can still be changed."""
    return (2 * model.n_layers + 2) // 3


def _within_both(screen: Screen, model: DepthModel, n_base: int, n_source: int) -> Screen:
    """The ends of a move within the model and the prompt that each is in."""
    ends = (screen.from_depth, screen.from_position, screen.into_depth, screen.into_position)
    if screen.view != "move" and ends == (None, -1, None, -1):
        return screen  # nobody has moved anything yet
    giver, taker = screen.giver, screen.taker
    if not n_source:
        giver = taker = "base"

    def placed(whose: str, depth: int | None, position: int) -> tuple[int, int]:
        last = (n_base if whose == "base" else n_source) - 1
        depth = _usual_depth(model) if depth is None else min(max(depth, 0), model.n_layers)
        return depth, position if 0 <= position <= last else last

    from_depth, from_position = placed(giver, screen.from_depth, screen.from_position)
    into_depth, into_position = placed(taker, screen.into_depth, screen.into_position)
    return replace(
        screen, giver=giver, taker=taker, from_depth=from_depth, from_position=from_position,
        into_depth=into_depth, into_position=into_position,
    )  # fmt: skip


def held_text(screen: Screen) -> str:
    """Which edit is held on while the model writes, in words."""
    if screen.held == "none":
        return "Choose an edit, its depth, tokens and scope in Poke to hold it on."
    name, where = SCOPES[screen.focus]
    kind = STRONG_EDITS[screen.edit]
    site = "depth" if screen.stream == "resid_pre" else "block"
    span = f"{site} {screen.depth}" + (f"–{screen.last}" if screen.last is not None else "")
    return (
        f"Held on: {kind.action}, {screen.dose:g} ({kind.unit}), {span}, {name.lower()} ({where}), "
        f"token{'s' * (len(screen.places) > 1)} {', '.join(map(str, screen.places))} of the "
        f"prompt. Change it in Poke."
    )


def describe(screen: Screen) -> str:
    """One line that says what a screen shows."""
    prompt = _short(screen.prompt)
    sweeps = {"patch": "patching", "ablate": "direction and norm", "steer": "steering"}
    said = {
        "read": f"Read {prompt}",
        "poke": f"Poke {prompt}: {screen.edit} at {screen.site}",
        "move": f"Move: depth {screen.from_depth}, token {screen.from_position} of the "
        f"{screen.giver} prompt into depth {screen.into_depth}, token {screen.into_position} of "
        f"the {screen.taker} prompt, {prompt}",
        "sweep": f"Sweep: {sweeps[screen.sweep]} on "
        + (
            f"{screen.pairs} pairs of {task_name(screen.task)}"
            if screen.on == "task"
            else f"the pair {prompt}"
        ),
        "circuit": f"Circuit of {prompt}",
        "write": f"Write after {prompt}"
        + (f", {screen.edit} at {screen.site} held on" if screen.held != "none" else ""),
        "pairs": f"Pairs: {screen.rows} of {task_name(screen.task)}",
        "compare": f"Compare {prompt} with "
        + (
            _short(screen.other_prompt)
            if screen.against == "prompt"
            else f"the model {screen.other_model}"
        ),
        "keep": "Keep",
    }
    return f"{said[screen.view]} ({screen.model})"


def _short(text: str, limit: int = 48) -> str:
    return f"“{text}”" if len(text) <= limit else f"“{text[: limit - 1]}…”"
