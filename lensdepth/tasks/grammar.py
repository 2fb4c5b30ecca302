"""Few-shot tasks of grammar: number, tense, gender."""

from collections.abc import Mapping

from lensdepth.tasks import words
from lensdepth.tasks.recipe import Recipe
from lensdepth.tasks.shots import Item, Wording, items_of, recipe, sentences

_NUMBERS = ("singular", "plural")
_BE = {"singular": "is", "plural": "are"}
_WAS = {"singular": "was", "plural": "were"}
_HAVE = {"singular": "has", "plural": "have"}


def _nouns() -> list[Item]:
    return [
        Item(word=word, answer=number, together=one, labels={"number": number},
             shared={"noun": one})
        for one, many in words.NOUNS.items()
        for word, number in zip((one, many), _NUMBERS, strict=True)
    ]  # fmt: skip


def _agreeing(text: str, answers: Mapping[str, str], **pools: tuple[str, ...]) -> Wording:
    return Wording(
        texts=(text,),
        items=_nouns(),
        n_shots=4,
        answers=answers,
        pools={"tail": words.TAILS} | pools,
    )


_NEAR = {"attractor": (*words.NEARBY, *words.NEARBY.values())}
_AGREEMENT = {
    "be": _agreeing("The {word} {answer} {tail}.", _BE),
    "was": _agreeing("The {word} {answer} {tail}.", _WAS),
    "that": _agreeing("They said that the {word} {answer} {tail}.", _BE),
    "have": _agreeing("The {word} {answer} been {tail}.", _HAVE),
}
_ACROSS = {
    "near": _agreeing("The {word} near the {attractor} {answer} {tail}.", _BE, **_NEAR),
    "behind": _agreeing("The {word} behind the {attractor} {answer} {tail}.", _WAS, **_NEAR),
    "by": _agreeing("The {word} by the {attractor} {answer} {tail}.", _BE, **_NEAR),
    "from": _agreeing("The {word} from the {attractor} {answer} been {tail}.", _HAVE, **_NEAR),
}

_PLURALS = sentences(
    items_of(words.NOUNS, "noun", "plural"),
    {
        "one_two": "One {word}, two {answer}.",
        "arrow": "{word} -> {answer}",
        "many": "I have one {word}, and she has many {answer}.",
        "question": "Q: What is the plural of {word}?\nA: {answer}",
    },
)
_PAST = sentences(
    items_of(words.PAST, "verb", "past"),
    {
        "yesterday": "Today I {word}. Yesterday I {answer}.",
        "arrow": "{word} -> {answer}",
        "they": "They {word} every day, and last week they {answer}.",
        "question": "Q: What is the past tense of {word}?\nA: {answer}",
    },
)


def _people() -> list[Item]:
    return [
        Item(word=name, answer=gender, labels={"name": name, "gender": gender})
        for gender, names in (("female", words.WOMEN), ("male", words.MEN))
        for name in names
    ]


_SHE = {"female": "she", "male": "he"}
_PRONOUNS = {
    "so": Wording(
        texts=(
            "{word} was very tired, so {answer} went to bed.",
            "{word} was hungry, so {answer} made a sandwich.",
            "{word} missed the bus, so {answer} walked home.",
            "{word} felt cold, so {answer} closed the window.",
            "{word} had no money, so {answer} stayed at home.",
            "{word} heard a noise, so {answer} opened the door.",
        ),
        items=_people(),
        answers=_SHE,
    ),
    "because": Wording(
        texts=(
            "{word} left the party because {answer} was tired.",
            "{word} could not sleep because {answer} was worried.",
            "{word} smiled because {answer} was happy.",
            "{word} stayed at home because {answer} was sick.",
            "{word} went to the doctor because {answer} felt ill.",
            "{word} bought a new coat because {answer} was cold.",
        ),
        items=_people(),
        answers=_SHE,
    ),
    "said": Wording(
        texts=(
            "{word} said that {answer} was late.",
            "{word} thought that {answer} was right.",
            "{word} knew that {answer} was wrong.",
            "{word} hoped that {answer} would win.",
            "{word} promised that {answer} would call.",
            "{word} felt that {answer} was alone.",
        ),
        items=_people(),
        answers=_SHE,
    ),
    "until": Wording(
        texts=(
            "{word} waited until {answer} was called.",
            "{word} slept until {answer} heard the door.",
            "{word} worked until {answer} was tired.",
            "{word} walked until {answer} reached the river.",
            "{word} read until {answer} fell asleep.",
            "{word} stayed until {answer} had to leave.",
        ),
        items=_people(),
        answers=_SHE,
    ),
}


GRAMMAR: dict[str, Recipe] = {
    "plurals": recipe('"One cat, two cats. ... One dog, two" -> dogs', _PLURALS),
    "past-tense": recipe('"Today I go. Yesterday I went. ... I see. Yesterday I" -> saw', _PAST),
    "agreement": recipe('"The trees are old. ... The dog" -> is', _AGREEMENT),
    "agreement-across": recipe(
        '"The cat near the doors is old. ... The keys near the wall" -> are', _ACROSS
    ),
    "pronouns": recipe('"... Mary was very tired, so" -> she', _PRONOUNS),
}
