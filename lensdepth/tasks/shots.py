"""Few-shot prompts: a question behind a few examples of its kind, drawn in balance.

Clean and corrupted prompt share their examples and differ in one word of the question. Examples
are drawn anew for each pair, of other words than the question's, so that neither prompt holds its
answer; every word, answer and wording comes about equally often, in either role.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lensdepth.tasks.recipe import Recipe
from lensdepth.tasks.rows import MOST, Make, Row

SHOTS = 3
"""Examples in front of the question."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A word that can stand in the question's blank, and its answer."""

    word: str
    answer: str
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
    lead: str = ""
    """In front of all."""
    shots: Sequence[Item] = ()
    """What examples are made of; empty: of the items."""
    n_shots: int = SHOTS
    answers: Mapping[str, str] = field(default_factory=dict)
    """How this wording writes an answer; as it stands where it is not named."""
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further fields, filled at random, in clean and corrupted alike; they are labels too."""

    def says(self, answer: str) -> str:
        return self.answers.get(answer, answer)

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
        drawn = _in_balance(chosen, min(n or total, total), rng)
        return [_row(name, wordings[name], one, other, rng) for name, one, other in drawn]

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


def _row(name: str, wording: Wording, one: Item, other: Item, rng: random.Random) -> Row:
    texts = _shuffled(list(wording.texts), rng)
    written = [
        _fill(texts[(k + 1) % len(texts)], item, wording, _pooled(wording, rng))
        for k, item in enumerate(_examples(wording, one, other, rng))
    ]
    asked = texts[0].split("{answer}")[0].rstrip(" ")
    pooled = _pooled(wording, rng)
    clean, corrupted = (
        wording.lead + wording.between.join([*written, _fill(asked, item, wording, pooled)])
        for item in (one, other)
    )
    labels = {**one.labels, **one.shared}
    labels |= {f"corrupted_{key}": value for key, value in other.labels.items()}
    labels |= pooled | {"template": name}
    if len(wording.texts) > 1:
        labels["sentence"] = wording.texts.index(texts[0])
    return Row(
        clean=clean,
        corrupted=corrupted,
        target=wording.says(one.answer),
        foil=wording.says(other.answer),
        input=one.word,
        corrupted_input=other.word,
        labels=labels,
    )


def _pooled(wording: Wording, rng: random.Random) -> dict[str, str]:
    return {key: rng.choice(values) for key, values in wording.pools.items()}


def _fill(text: str, item: Item, wording: Wording, pooled: Mapping[str, str]) -> str:
    return text.format(word=item.word, answer=wording.says(item.answer), **item.fields, **pooled)


def _examples(wording: Wording, one: Item, other: Item, rng: random.Random) -> list[Item]:
    """Items of other words than the question's, of all answers in turn; of other answers too where
    there are enough of them."""
    asked = {one.word, other.word}
    told = asked | {one.answer, other.answer}
    pool = [item for item in wording.shots or wording.items if item.word not in asked]
    apart = [item for item in pool if not {item.word, item.answer} & told]
    if len({item.answer for item in apart}) >= wording.n_shots:
        pool = apart
    by_answer = defaultdict(list)
    for item in _shuffled(pool, rng):
        by_answer[item.answer].append(item)
    chosen: list[Item] = []
    words: set[str] = set()
    turn = 0
    while len(chosen) < wording.n_shots and turn < len(pool):
        for items in by_answer.values():
            fresh = turn < len(items) and items[turn].word not in words
            if fresh and len(chosen) < wording.n_shots:
                chosen.append(items[turn])
                words.add(items[turn].word)
        turn += 1
    return _shuffled(chosen, rng)
