"""Few-shot prompts: a question behind a few examples of its kind, drawn in balance.

Clean and corrupted prompt share their examples and differ in one word of the question. Of each
wording a few sets of examples are drawn, so that many questions stand behind the same ones; a pair
takes one that has none of its own words, nor its answers where there are others, and examples of
its own where no set is so. Every word, answer and wording comes about equally often, in either
role.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lensdepth.tasks.recipe import Recipe
from lensdepth.tasks.rows import MOST, Make, Row

SHOTS = 3
"""Examples in front of the question."""
MOST_CLASSES = 4
"""So many different answers are classes, all of which the examples show."""
SETS = 3
"""Sets of examples of a wording."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A word that can stand in the question's blank, and its answer."""

    word: str
    answer: str
    varies: str = ""
    """The beginning of the word, where the rest of it is the same within every pair; such as the
    year but for its last digit, which some tokenizers make a token of its own."""
    together: str = ""
    """Two items make a pair where this is the same and their answers are not."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What else its sentence says; the same for all items that go together."""
    labels: Mapping[str, object] = field(default_factory=dict)
    """What is known of it; the other prompt's are called `corrupted_...`."""
    shared: Mapping[str, object] = field(default_factory=dict)
    """What is known of all items that go together."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How question and examples are written."""

    texts: tuple[str, ...]
    """Sentences with `{word}`, `{answer}` and other fields, the question up to `{answer}`; where
    there are several, question and examples are written in different ones."""
    items: Sequence[Item]
    between: str = " "
    """Between two examples."""
    shots: Sequence[Item] = ()
    """What examples are made of; empty: of the items."""
    n_shots: int = SHOTS
    answers: Mapping[str, str] = field(default_factory=dict)
    """How this wording writes an answer; as it stands where it is not named."""
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further fields, filled at random, in clean and corrupted alike; those of the question are
    labels too."""
    apart: bool = True
    """Whether examples do without the question's words and answers; where these are everybody's,
    as numbers are, they tell nothing."""

    def says(self, answer: str) -> str:
        return self.answers.get(answer, answer)

    @property
    def has_many_answers(self) -> bool:
        """Whether examples can do without the question's answers."""
        return len({item.answer for item in self.shots or self.items}) > MOST_CLASSES

    @property
    def partners(self) -> dict[int, list[int]]:
        """For each item the others that it makes a pair with; items without one are left out."""
        groups = defaultdict(list)
        for i, item in enumerate(self.items):
            groups[item.together].append(i)
        found = {
            i: [j for j in groups[item.together] if _are_pair(item, self.items[j])]
            for i, item in enumerate(self.items)
        }
        return {i: others for i, others in found.items() if others}


def _are_pair(one: Item, other: Item) -> bool:
    return one.word != other.word and one.answer != other.answer


def few_shot(wordings: Mapping[str, Wording]) -> Make:
    """Pairs of few-shot prompts in these wordings."""

    def make(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
        chosen = {name: wordings[name] for name in templates}
        total = sum(len(o) for wording in chosen.values() for o in wording.partners.values())
        if n is None and total > MOST:
            raise ValueError(f"there are {total:,} pairs, more than {MOST:,}; say how many with n.")
        sets = {
            name: [_draw_examples(wording, rng) for _ in range(SETS)]
            for name, wording in chosen.items()
        }
        drawn = _in_balance(chosen, min(n or total, total), rng)
        return [_row(name, chosen[name], one, other, sets[name], rng) for name, one, other in drawn]

    return make


def items_of(answers: Mapping[str, str], label: str, answer_label: str) -> list[Item]:
    """An item a word, with the labels of word and answer."""
    return [
        Item(word=word, answer=answer, labels={label: word, answer_label: answer})
        for word, answer in answers.items()
    ]


def sentences(
    items: Sequence[Item], texts: Mapping[str, str], *, shots: Sequence[Item] = (), n_shots: int = 3
) -> dict[str, Wording]:
    """One sentence a wording; those that are no sentences stand on lines of their own."""
    return {
        name: Wording(
            texts=(text,),
            items=items,
            between=" " if text.endswith(".") else "\n",
            shots=shots,
            n_shots=n_shots,
        )
        for name, text in texts.items()
    }


def recipe(description: str, wordings: Mapping[str, Wording], *default: str) -> Recipe:
    """The recipe of these wordings; of the default ones where none is named."""
    return Recipe(
        description=description,
        make=few_shot(wordings),
        templates=tuple(wordings),
        default=default,
    )


def _in_balance(
    wordings: Mapping[str, Wording], n: int, rng: random.Random
) -> Iterator[tuple[str, Item, Item]]:
    """Different pairs, each time of what came least often so far."""
    partners = {name: wording.partners for name, wording in wordings.items()}
    uses: Counter[tuple[str, str]] = Counter()
    for _ in range(n):
        open_ones = [name for name in wordings if partners[name]]
        name = min(_shuffled(open_ones, rng), key=lambda name: uses["wording", name])
        items, left = wordings[name].items, partners[name]

        def so_far(
            i: int, role: str, name: str = name, items: Sequence[Item] = items
        ) -> tuple[int, int]:
            one = items[i]
            answers = uses[f"{role} answer in {name}", one.answer]
            return uses[role, one.word], uses["together", one.together] + answers

        at = min(_shuffled(list(left), rng), key=lambda i: so_far(i, "clean"))
        other = min(_shuffled(left[at], rng), key=lambda i: so_far(i, "corrupted"))
        left[at].remove(other)
        if not left[at]:
            del left[at]
        uses["wording", name] += 1
        uses["together", items[at].together] += 1
        for role, i in (("clean", at), ("corrupted", other)):
            uses[role, items[i].word] += 1
            uses[f"{role} answer in {name}", items[i].answer] += 1
        yield name, items[at], items[other]


def _shuffled(values: list, rng: random.Random) -> list:  # type: ignore[type-arg]
    return rng.sample(values, len(values))


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What stands in front of a question."""

    items: tuple[Item, ...]
    written: tuple[str, ...]
    left: tuple[str, ...]
    """Sentences that they are not written in."""


def _row(
    name: str,
    wording: Wording,
    one: Item,
    other: Item,
    sets: Sequence[Examples],
    rng: random.Random,
) -> Row:
    shown = next(
        (found for found in _shuffled(list(sets), rng) if _suit(wording, found.items, one, other)),
        None,
    ) or _draw_examples(wording, rng, one, other)
    sentence = rng.choice(shown.left)
    asked = sentence.split("{answer}")[0].rstrip(" ")
    pooled = {key: value for key, value in _pooled(wording, rng).items() if f"{{{key}}}" in asked}
    clean, corrupted = (
        wording.between.join([*shown.written, _fill(asked, item, wording, pooled)])
        for item in (one, other)
    )
    labels = {**one.labels, **one.shared}
    labels |= {f"corrupted_{key}": value for key, value in other.labels.items()}
    labels |= pooled | {"template": name}
    if len(wording.texts) > 1:
        labels["sentence"] = f"{name} {wording.texts.index(sentence) + 1}"
    return Row(
        clean=clean,
        corrupted=corrupted,
        target=wording.says(one.answer),
        foil=wording.says(other.answer),
        input=one.varies or one.word,
        corrupted_input=other.varies or other.word,
        labels=labels | {"examples": ", ".join(item.word for item in shown.items)},
    )


def _pooled(wording: Wording, rng: random.Random) -> dict[str, str]:
    return {key: rng.choice(values) for key, values in wording.pools.items()}


def _fill(text: str, item: Item, wording: Wording, pooled: Mapping[str, str]) -> str:
    return text.format(word=item.word, answer=wording.says(item.answer), **item.fields, **pooled)


def _suit(wording: Wording, items: Sequence[Item], one: Item, other: Item) -> bool:
    """Whether examples hold none of the question's words, nor answers where there are many."""
    if not wording.apart:
        return one not in items and other not in items
    said = {item.word for item in items}
    if wording.has_many_answers:
        said |= {item.answer for item in items}
        return not said & {one.word, other.word, one.answer, other.answer}
    return not said & {one.word, other.word}


def _draw_examples(wording: Wording, rng: random.Random, *pair: Item) -> Examples:
    """Examples of all answers in turn; beside a pair such as suit it, or none of its words."""
    pool = list(wording.shots or wording.items)
    if pair:
        apart = [item for item in pool if _suit(wording, [item], *pair)]
        enough = len({item.answer for item in apart}) >= wording.n_shots
        words = {item.word for item in pair}
        pool = apart if enough else [item for item in pool if item.word not in words] or apart
    by_answer = defaultdict(list)
    for item in _shuffled(pool, rng):
        by_answer[item.answer].append(item)
    turns = [items[turn] for turn in range(len(pool)) for items in by_answer.values()
             if turn < len(items)]  # fmt: skip
    chosen = list({item.word: item for item in reversed(turns)}.values())[::-1][: wording.n_shots]
    rng.shuffle(chosen)
    texts = _shuffled(list(wording.texts), rng)
    return Examples(
        items=tuple(chosen),
        written=tuple(
            _fill(texts[k % len(texts)], item, wording, _pooled(wording, rng))
            for k, item in enumerate(chosen)
        ),
        left=tuple(texts[len(chosen) :] or texts[-1:]),
    )
