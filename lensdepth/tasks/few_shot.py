"""The tasks that models of everyday text know, behind a few examples: wordings and items.

Every task has several wordings, its `template` label, and more words than intervals need. Facts,
feelings and copying stand here; `counting` and `grammar` have the others.
"""

import random
from collections.abc import Sequence

from lensdepth.tasks import words
from lensdepth.tasks.contexts import draw_endless
from lensdepth.tasks.counting import COUNTING
from lensdepth.tasks.grammar import GRAMMAR
from lensdepth.tasks.recipe import Recipe
from lensdepth.tasks.rows import Row
from lensdepth.tasks.shots import Item, Wording, items_of, recipe, sentences

# Facts

_CAPITALS = sentences(
    items_of(words.CAPITALS, "country", "capital"),
    {
        "capital": "The capital of {word} is {answer}.",
        "list": "{word}: {answer}",
        "arrow": "{word} -> {answer}",
        "question": "Q: What is the capital of {word}?\nA: {answer}",
    },
)
_COUNTRIES = sentences(
    items_of(
        {capital: country for country, capital in words.CAPITALS.items()}, "capital", "country"
    ),
    {
        "country": "{word} is the capital of {answer}.",
        "list": "{word}: {answer}",
        "city": "The city of {word} is in {answer}.",
        "question": "Q: Which country is {word} the capital of?\nA: {answer}",
    },
)
_LANGUAGES = sentences(
    items_of(words.LANGUAGES, "country", "language"),
    {
        "speak": "In {word}, people speak {answer}.",
        "list": "{word}: {answer}",
        "language": "The language of {word} is {answer}.",
        "question": "Q: Which language do people speak in {word}?\nA: {answer}",
    },
)
_OPPOSITES = sentences(
    items_of({a: b for pair in words.OPPOSITES for a, b in (pair, pair[::-1])}, "word", "opposite"),
    {
        "opposite": "The opposite of {word} is {answer}.",
        "arrow": "{word} -> {answer}",
        "not": "If it is not {word}, it is {answer}.",
        "question": "Q: What is the opposite of {word}?\nA: {answer}",
    },
)
_COLOURS = sentences(
    items_of(words.COLOURS, "thing", "colour"),
    {
        "colour": "The color of {word} is {answer}.",
        "list": "{word}: {answer}",
        "arrow": "{word} -> {answer}",
        "question": "Q: What is the color of {word}?\nA: {answer}",
    },
)

# Sentiment


def _verdicts() -> list[Item]:
    return [
        Item(word=word, answer=mood, labels={"adjective": word, "sentiment": mood})
        for mood, listed in (("positive", words.GOOD), ("negative", words.BAD))
        for word in listed
    ]


_SUBJECTS = ("film", "book", "play", "show", "story", "concert", "meal", "song")


def _judged(text: str, **answers: str) -> Wording:
    return Wording(
        texts=(text,),
        items=_verdicts(),
        between="\n",
        n_shots=4,
        answers=answers,
        pools={"subject": _SUBJECTS},
    )


_SENTIMENT = {
    "review": _judged("Review: The {subject} was {word}.\nSentiment: {answer}"),
    "arrow": _judged("{word} {subject} -> {answer}"),
    "felt": _judged(
        "The {subject} was {word}, and everyone felt {answer}.", positive="happy", negative="sad"
    ),
    "question": _judged(
        "Q: The {subject} was {word}. Is that good or bad?\nA: {answer}",
        positive="good", negative="bad",
    ),
}  # fmt: skip

# From the context

_COPIES = {
    "semicolon": ("{0}; {0}.", " ", " "),
    "arrow": ("{0} -> {0}", ", ", "\n"),
    "again": ("{0}. Again: {0}.", ", ", " "),
    "lines": ("{0}\n{0}", " ", "\n\n"),
}
"""How a sequence and its copy are written, what stands between its words, and between examples."""


def _copies(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """Sequences of five words, each said again; the last copy has come so far as it is asked."""
    size = 5
    kinds = [(name, at) for name in templates for at in range(1, size)]

    def draw(kind: int) -> Row:
        name, at = kinds[kind]
        text, mark, between = _COPIES[name]
        *told, other = rng.sample(words.THINGS, 3 * size + 1)
        first, second, sequence = told[:size], told[size : 2 * size], told[2 * size :]
        changed = [*sequence[:at], other, *sequence[at + 1 :]]
        asked = mark.join(sequence[:at]) + mark.rstrip()

        def written(last: Sequence[str]) -> str:
            shown = [text.format(mark.join(one)) for one in (first, second)]
            question = text.format("{0}").split("{0}")
            return between.join([*shown, f"{mark.join(last).join(question[:2])}{asked}"])

        return Row(
            clean=written(sequence),
            corrupted=written(changed),
            target=sequence[at],
            foil=other,
            input=sequence[at],
            corrupted_input=other,
            labels={"template": name, "length": size, "place": at},
        )

    return draw_endless(len(kinds), draw, n, rng)


def _docstrings(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """The third argument of a function, where the docstring has come to it."""
    kinds = [(name, at) for name in templates for at in (2, 3)]

    def draw(kind: int) -> Row:
        name, at = kinds[kind]
        *named, other = rng.sample(words.ARGUMENTS, 6)
        function = rng.choice(words.FUNCTIONS)
        changed = [*named[:at], other, *named[at + 1 :]]

        def written(arguments: Sequence[str]) -> str:
            head = f"def {function}({', '.join(arguments)}):\n    "
            if name == "sphinx":
                told = "\n".join(f"    :param {one}: the {one}" for one in arguments[:at])
                return f'{head}"""{function} it\n\n{told}\n    :param'
            if name == "comment":
                told = "\n".join(f"    # {one}: the {one}" for one in arguments[:at])
                return f"{head.rstrip(' ')}{told}\n    #"
            told = ", ".join(f"the {one}" for one in arguments[:at])
            return f'{head}"""{function.capitalize()} with {told}, the'

        return Row(
            clean=written(named),
            corrupted=written(changed),
            target=named[at],
            foil=other,
            input=named[at],
            corrupted_input=other,
            labels={"template": name, "function": function, "place": at},
        )

    return draw_endless(len(kinds), draw, n, rng)


FEW_SHOT: dict[str, Recipe] = {
    "capitals": recipe('"The capital of Peru is Lima. ... of France is" -> Paris', _CAPITALS),
    "countries": recipe('"Lima is the capital of Peru. ... Paris is ..." -> France', _COUNTRIES),
    "languages": recipe('"In Peru, people speak Spanish. ... In France ..." -> French', _LANGUAGES),
    "opposites": recipe('"The opposite of up is down. ... of hot is" -> cold', _OPPOSITES),
    "colours": recipe('"The color of snow is white. ... of grass is" -> green', _COLOURS),
    **COUNTING,
    **GRAMMAR,
    "sentiment": recipe(
        '"Review: The film was dull. Sentiment: negative ... wonderful ..." -> positive',
        _SENTIMENT,
        *("review", "felt", "question"),
    ),
    "copy": Recipe(
        description='"... apple river stone cloud; apple river" -> stone, copying from the context',
        make=_copies,
        templates=tuple(_COPIES),
    ),
    "docstring": Recipe(
        description='"def load(name, size, file, ...): :param name: ... :param" -> size',
        make=_docstrings,
        templates=("sphinx", "sentence", "comment"),
        default=("sphinx", "sentence"),
    ),
}
"""The few-shot form of each task that has one."""
