"""Few-shot tasks: known answers, balance, examples that give nothing away, forms, drawing on."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lensdepth.model import DepthModel
from lensdepth.tasks import calendar, list_forms, list_tasks, list_templates, load_task, words
from lensdepth.tasks.catalogue import FEW_SHOT, PLAIN, make_rows
from lensdepth.tasks.meanings import label_name
from lensdepth.tasks.rows import Row
from lensdepth.tasks.shots import Item, Wording, few_shot
from lensdepth.tokens import TokenBatch, pad_tokens

pytestmark = pytest.mark.long

# Answers worked out by hand; each question as it ends a prompt.
BY_HAND = {
    ("months", "from"): {"Two months from January is": "March", "One month from May is": "June"},
    ("months", "before"): {"Three months before January is": "October"},
    ("weekdays", "from"): {"Two days from Monday is": "Wednesday"},
    ("capitals", "capital"): {"The capital of France is": "Paris"},
    ("capitals", "question"): {"What is the capital of Peru?\nA:": "Lima"},
    ("countries", "country"): {"Paris is the capital of": "France"},
    ("languages", "speak"): {"In Mexico, people speak": "Spanish"},
    ("languages", "list"): {"Brazil:": "Portuguese"},
    ("opposites", "opposite"): {"The opposite of hot is": "cold", "opposite of cold is": "hot"},
    ("colours", "colour"): {"The color of grass is": "green"},
    ("next-month", "after"): {"After December comes": "January"},
    ("next-weekday", "list"): {"Monday,": "Tuesday", "Sunday,": "Monday"},
    ("next-number", "arrow"): {"nineteen ->": "twenty", "one ->": "two"},
    ("next-letter", "followed"): {"A is followed by": "B", "Y is followed by": "Z"},
    ("plurals", "one_two"): {"One child, two": "children", "One dog, two": "dogs"},
    ("past-tense", "yesterday"): {"Today I go. Yesterday I": "went"},
    ("agreement", "be"): {"The dog": "is", "The children": "are"},
    ("agreement", "have"): {"The dog": "has", "The men": "have"},
    ("pronouns", "so"): {"Mary was hungry, so": "she", "John was hungry, so": "he"},
    ("sums", "digits"): {"4+3=": "7", "1+1=": "2"},
    ("sums", "words"): {"two plus six is": "eight"},
    ("sentiment", "review"): {"was dull.\nSentiment:": "negative"},
}


def rows_of(name: str, n: int | None = 240, seed: int = 0, template: str = "all") -> list[Row]:
    recipe = FEW_SHOT[name]
    templates = recipe.templates if template == "all" else (template,)
    return make_rows(name, n=n, seed=seed, templates=templates, form="few-shot")


def sides(row: Row) -> list[tuple[str, str, str]]:
    """Prompt, answer and input of both prompts."""
    assert row.corrupted
    assert row.target
    assert row.foil
    assert row.input
    assert row.corrupted_input
    return [
        (row.clean, row.target, row.input),
        (row.corrupted, row.foil, row.corrupted_input),
    ]


@pytest.mark.parametrize(("name", "template"), BY_HAND)
def test_answers_are_those_worked_out_by_hand(name: str, template: str) -> None:
    rows = rows_of(name, n=400, template=template)
    for question, answer in BY_HAND[name, template].items():
        found = {a for row in rows for prompt, a, _ in sides(row) if prompt.endswith(question)}
        assert found == {answer}, question


def test_agreement_looks_past_the_attractor() -> None:
    rows = rows_of("agreement-across")
    numbers = dict.fromkeys(words.NOUNS, "singular")
    numbers |= dict.fromkeys(words.NOUNS.values(), "plural")
    is_plural = {"is": False, "was": False, "has": False, "are": True, "were": True, "have": True}
    seen = set()
    for row in rows:
        for prompt, answer, word in sides(row):
            assert is_plural[answer] == (numbers[word] == "plural")
            assert prompt.endswith(f"The {word} " + prompt.rsplit(f"The {word} ", 1)[1])
            attractor = prompt.split()[-1]
            assert attractor == row.labels["attractor"]
            seen.add((is_plural[answer], attractor in words.NEARBY))
    assert len(seen) == 4  # every number before every number


def test_years_end_later() -> None:
    for row in rows_of("greater-than"):
        years = [str(row.labels[name]) for name in ("year", "corrupted_year")]
        for (prompt, answer, varies), year in zip(sides(row), years, strict=True):
            assert prompt[-2:] == year[:2]
            assert int(prompt[-2:] + answer.ljust(2, "9")) > int(year)
            assert varies == year[:3]  # the input ends with what differs
        assert years[0][3] == years[1][3]  # only the decade differs
        for first, last in re.findall(r"(1\d{3}) \D*(1\d{3})\.", row.clean):
            assert int(last) > int(first)


@pytest.mark.parametrize("template", ["sphinx", "comment", "sentence"])
def test_docstrings_come_to_the_next_argument(template: str) -> None:
    for row in rows_of("docstring", template=template):
        for prompt, answer, word in sides(row):
            arguments = re.search(r"\((.*)\)", prompt)
            assert arguments
            named = arguments[1].split(", ")
            assert answer == word == named[int(str(row.labels["place"]))]
            assert answer not in prompt[arguments.end() :]
        assert row.clean.replace(str(row.input), str(row.corrupted_input)) == row.corrupted


def test_copies_repeat_what_came_before() -> None:
    for row in rows_of("copy"):
        for prompt, answer, _ in sides(row):
            told = [w for w in re.findall(r"\w+", prompt) if w != "Again"]
            at = int(str(row.labels["place"]))
            assert told[:5] == told[5:10]
            assert told[10:15] == told[15:20]
            assert told[20 : 20 + at] == told[25:]
            assert answer == told[20 + at]
            assert len({*told}) == 15


@pytest.mark.parametrize("name", FEW_SHOT)
def test_pairs_differ_in_the_input_alone(name: str) -> None:
    for row in rows_of(name):
        (clean, _, word), (corrupted, _, other) = sides(row)
        starts = [found.start() for found in re.finditer(re.escape(word), clean)]
        swapped = {clean[:start] + other + clean[start + len(word) :] for start in starts}
        assert corrupted in swapped
        assert row.target != row.foil
        assert not row.clean.endswith(" ")


@pytest.mark.parametrize(
    "name",
    [n for n in FEW_SHOT if n not in ("agreement", "agreement-across", "pronouns", "sentiment",
                                      "copy", "docstring", "months", "weekdays", "sums",
                                      "greater-than", "colours", "languages")],
)  # fmt: skip
def test_examples_give_no_answer_away(name: str) -> None:
    """Words of the question and its two answers stand nowhere in front of it."""
    for row in rows_of(name):
        (clean, target, word), (_, foil, other) = sides(row)
        before = re.findall(r"\w+", clean[: clean.rindex(word)])
        shown = before[: -len(re.findall(r"\w+", clean.splitlines()[-1].split(".")[-1]))]
        if not name.startswith("next"):
            assert not {word, other, target, foil} & set(shown)
        else:
            assert not {word, target} & set(shown) - {"A", "Q"}


@pytest.mark.parametrize("name", FEW_SHOT)
def test_wordings_words_and_answers_are_balanced(name: str) -> None:
    rows = rows_of(name)
    assert len(rows) == (168 if name == "next-weekday" else 240)
    counts = Counter(row.labels["template"] for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 1
    if name in ("docstring", "copy"):
        return
    if name not in ("sums", "greater-than"):  # of which not every word goes with as many others
        used = Counter(row.input for row in rows)
        assert max(used.values()) - min(used.values()) <= 2
    answers = Counter(row.target for row in rows)
    if name in ("pronouns", "sentiment", "agreement", "agreement-across"):
        by_wording = Counter((row.labels["template"], row.target) for row in rows)
        assert len(by_wording) == 8
        assert max(by_wording.values()) - min(by_wording.values()) <= 4
    assert len(answers) > 1


def test_arithmetic_is_balanced_in_start_and_count() -> None:
    rows = rows_of("months", n=144, template="from")
    for label in ("alpha", "beta", "gamma", "corrupted_alpha"):
        counts = Counter(row.labels[label] for row in rows)
        assert len(counts) == 12
        assert max(counts.values()) - min(counts.values()) <= 2, label
    plain = make_rows("months", n=1, seed=0, templates=("from",))
    assert set(rows[0].labels) == {*plain[0].labels, "examples"}


def test_many_questions_stand_behind_the_same_examples() -> None:
    """Behind few enough that pairs can be made anew of prompts that differ in the input alone."""
    for name in ("months", "capitals", "agreement", "pronouns", "opposites"):
        rows = rows_of(name, template=FEW_SHOT[name].templates[0])
        common = Counter(row.labels["examples"] for row in rows).most_common(3)
        assert sum(n for _, n in common) > 0.9 * len(rows), name


@pytest.mark.parametrize("name", FEW_SHOT)
def test_the_seed_decides_and_further_draws_are_new(name: str) -> None:
    assert rows_of(name, n=20, seed=3) == rows_of(name, n=20, seed=3)
    assert rows_of(name, n=20, seed=3) != rows_of(name, n=20, seed=4)
    templates = FEW_SHOT[name].templates
    again = make_rows(name, n=20, seed=3, templates=templates, form="few-shot", again=1)
    assert again != rows_of(name, n=20, seed=3)


def test_a_word_without_partner_is_left_out() -> None:
    items = [Item(word=w, answer=a, together=t) for w, a, t in
             (("a", "1", ""), ("b", "2", ""), ("c", "3", "alone"), ("d", "1", ""))]  # fmt: skip
    made = few_shot({"w": Wording(texts=("{word} is {answer}.",), items=items, n_shots=1)})
    rows = made(("w",), None, random.Random(0))
    assert {(r.input, r.corrupted_input) for r in rows} == {
        ("a", "b"), ("b", "a"), ("d", "b"), ("b", "d"),
    }  # fmt: skip
    # The only example that is neither of the two words.
    assert all(r.clean.split()[0] in "acd" for r in rows)


# Forms, on a tokenizer of everyday words and on one that has few


def spelling(whole: set[str], in_pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """Words of one token, and some of two."""
    pieces = {p for w in in_pieces for p in (w[:2], "##" + w[2:])}
    known = {w: i for i, w in enumerate(["<unk>", *sorted((whole - set(in_pieces)) | pieces)])}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.decoder = decoders.WordPiece()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@cache
def everyday(without: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """All words of capitals, months and the probe; few-shot or plain."""
    texts = [
        f"{text} {row.target} {row.foil}"
        for name in ("capitals", "months")
        for form, recipes in (("few-shot", FEW_SHOT), ("plain", PLAIN))
        for row in make_rows(
            name, n=400, seed=1, form=form, templates=recipes[name].templates,  # type: ignore[arg-type]
        )
        for text in (row.clean, row.corrupted)
    ]  # fmt: skip
    found = {w for text in texts for w in re.findall(r"\w+|[^\w\s]+", text)}
    return spelling(found | set(words.EVERYDAY), without)


class Fake:
    """A model that answers by a rule: of prompts, the answer that a dictionary gives."""

    n_ctx = 500

    def __init__(self, without: tuple[str, ...] = (), knows: float = 1.0) -> None:
        self.tokenizer = everyday(without)
        self.info = SimpleNamespace(name="fake")
        self.knows = knows
        self.asked = 0

    def tokenize(self, prompts: Any) -> TokenBatch:
        return pad_tokens(self.tokenizer(list(prompts))["input_ids"], pad_id=0)

    def logits(self, prompts: Any) -> torch.Tensor:
        """Right for a share of the countries, by their number in the vocabulary."""
        self.asked += len(prompts)
        out = torch.zeros(len(prompts), 1, len(self.tokenizer))
        for i in range(len(prompts)):
            said = str(self.tokenizer.decode(prompts.row(i))).split()
            word = said[-2]
            answer = words.CAPITALS.get(word, "")
            place = list(words.CAPITALS).index(word) / len(words.CAPITALS)
            if place < self.knows:
                out[i, 0, self.tokenizer.convert_tokens_to_ids(answer)] = 1.0
            else:
                out[i, 0, self.tokenizer.convert_tokens_to_ids("is")] = 1.0
        return out


def test_forms_go_by_what_the_tokenizer_knows(trained: DepthModel) -> None:
    real = Fake()
    task = load_task("capitals", real, n=12)
    assert task.name == "capitals (few-shot)"
    assert set(task.labels["template"]) == set(list_templates("capitals", form="few-shot"))
    plain = load_task("capitals", trained, n=12)
    assert (plain.name, set(plain.labels["template"])) == ("capitals", {"capital"})
    assert plain.to_frame().equals(load_task("capitals", trained, n=12, form="plain").to_frame())
    # A wording of the other form alone takes that form.
    assert load_task("capitals", real, n=5, template="proud").name == "capitals"
    for prompt in load_task("months", real, n=5, form="plain").clean:
        assert prompt.count("from") == 1
    with pytest.raises(ValueError, match=r"'capitals' has no template 'proud' in its few-shot"):
        load_task("capitals", real, form="few-shot", template="proud")
    with pytest.raises(ValueError, match=r"task 'ioi' has no form 'few-shot'; it is plain"):
        load_task("ioi", real, form="few-shot")
    with pytest.raises(
        ValueError, match=r"tokenizer does not know 'apple', 'apples'.* and \d+ more"
    ):
        load_task("agreement-across", trained)
    with pytest.raises(ValueError, match=r"form chooses how a built-in task is put; these are"):
        load_task([{"prompt": "x"}], real, form="plain")
    assert list_forms("capitals") == ("plain", "few-shot")
    assert list_forms("sums") == ("few-shot",)
    assert label_name("beta", "months (few-shot)") == "beta (the count)"
    assert set(FEW_SHOT) | set(PLAIN) == set(list_tasks())


def test_pairs_are_drawn_until_enough_are_kept() -> None:
    """Half of the countries are known, so that a quarter of the pairs is right."""
    model = Fake(knows=0.5)
    every = load_task("capitals", model, n=40, template="capital")
    assert (len(every), every.n_drawn) == (40, 40)
    kept = load_task("capitals", model, n=40, template="capital", keep="correct")
    assert len(kept) == 40
    assert kept.keep == "correct"
    assert kept.n_drawn == 40 + kept.n_wrong
    assert 2.5 < kept.n_drawn / 40 < 6
    known = [c for i, c in enumerate(words.CAPITALS) if i / len(words.CAPITALS) < 0.5]
    assert set(kept.labels["country"]) | set(kept.labels["corrupted_country"]) <= set(known)
    assert len({*zip(kept.clean, kept.corrupted or (), strict=True)}) == 40
    assert len({*kept.where}) == 40
    first = [i for i, place in enumerate(kept.where) if int(place.split()[1]) < 40]
    # What comes first is what is kept of the first draw.
    both = set(known)
    right = [
        i for i in range(40)
        if {every.labels["country"][i], every.labels["corrupted_country"][i]} <= both
    ]  # fmt: skip
    assert [kept.clean[i] for i in first] == [every.clean[i] for i in right]
    assert (
        load_task("capitals", model, n=40, template="capital", keep="correct").clean == kept.clean
    )


def test_what_a_model_hardly_knows_is_not_sought_for_ever() -> None:
    model = Fake(knows=0.3)
    kept = load_task("capitals", model, n=30, template="capital", keep="correct", seed=2)
    assert len(kept) < 30
    assert kept.n_drawn <= 10 * 30 + 32
    assert model.asked <= 2 * kept.n_drawn + 2 * 32


def test_plain_tasks_are_exhausted(trained: DepthModel) -> None:
    assert len(load_task("near-weekdays", trained, n=200)) == 42
    again = load_task("opposites", trained, n=300)
    assert len({*again.clean}) == 24


def test_words_of_several_tokens_cost_their_pairs_alone() -> None:
    model = Fake(without=("Lima", "Oslo"))
    task = load_task("capitals", model, n=50, template="capital")
    assert len(task) == 50
    assert task.n_multi_token == task.n_drawn - 50
    assert not {"Lima", "Oslo"} & {*(task.target or ()), *(task.foil or ())}


def test_calendar_words_are_everywhere() -> None:
    for template in calendar.TEMPLATES:
        rows = rows_of("weekdays", n=7, template=template.name)
        assert all(row.clean.count(".") == 4 for row in rows)


def test_what_is_said_instead_of_the_answers() -> None:
    """No country is known: the first choice is always `is`, and no answer is preferred."""
    model = Fake(knows=0)
    with pytest.raises(ValueError, match=r"none of the 20 pairs .* its first choice is 'is'"):
        load_task("capitals", model, n=20, template="capital", keep="correct")
