# Fields that are None for plain prompts are read here without asking each time.
# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOptionalIterable=false, reportArgumentType=false
"""Tasks on tokens: positions and answers for any tokenizer, filters, selection, bad input."""

import json
import logging
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from lensdepth.model import DepthModel
from lensdepth.patching import patch_sweep
from lensdepth.tasks import Task, build_task, calendar, list_tasks, list_templates, load_task
from lensdepth.tasks.locate import answer_tokens, find_input, token_at, token_ids, varying_span
from lensdepth.tasks.rows import Row
from lensdepth.tokens import TokenBatch, pad_tokens

# Tokenizers of every common make, and some that know few words whole.

TEXTS = [
    "When Mary and John went to the store, John gave a drink to Mary",
    "Roughly two months after May it is. A month near May is. A day near Monday is",
    "the month after May, the day before Monday",
    *(
        f"{calendar.fill(template, unit=unit, alpha=alpha, beta=beta)} {alpha}"
        for template in calendar.TEMPLATES
        for unit, names in calendar.CALENDARS.items()
        for beta, alpha in enumerate(names, start=1)
    ),
]
WORDS = sorted({word for text in TEXTS for word in re.findall(r"\w+|[^\w\s]", text)})


def fast(tokenizer: Tokenizer, *, first: str = "") -> PreTrainedTokenizerFast:
    """For transformers, with a special token in front of every prompt if one is named."""
    if first:
        single = [(first, tokenizer.token_to_id(first))]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=single
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>" if tokenizer.token_to_id("<unk>") is not None else None,
        bos_token=first or None,
    )


def words_tokenizer(*, lower: bool = False) -> PreTrainedTokenizerFast:
    """Whole words and marks, spaces dropped; BOS in front."""
    words = sorted({w.lower() for w in WORDS}) if lower else WORDS
    vocabulary = {w: i for i, w in enumerate(["<unk>", "<bos>", "<eos>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    return fast(tokenizer, first="<bos>")


def bytes_tokenizer(size: int = 1000) -> PreTrainedTokenizerFast:
    """Byte-level BPE: spaces belong to words, no BOS. With few merges, names are several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=["<|endoftext|>"],
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return fast(tokenizer)


def spaces_tokenizer(*, split: bool = False) -> PreTrainedTokenizerFast:
    """SentencePiece-like: spaces become "\u2581" in front of words; BOS in front."""
    pieces = {p: -2.0 for w in WORDS for p in ([w[:3], w[3:]] if split else [w, "\u2581" + w]) if p}
    singles = {c: -9.0 for c in "".join(WORDS) + "\u2581" if c not in pieces}
    vocabulary = [("<unk>", -20.0), ("<s>", 0.0), *pieces.items(), *singles.items()]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return fast(tokenizer, first="<s>")


class Slow:
    """A tokenizer without character offsets."""

    is_fast = False

    def __init__(self, fast: PreTrainedTokenizerFast) -> None:
        self.fast = fast

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fast, name)

    def __call__(self, text: Any, **options: Any) -> Any:
        if options.get("return_offsets_mapping"):
            raise NotImplementedError("return_offset_mapping is not available")
        return self.fast(text, **options)


MAKES: dict[str, Any] = {
    "words": words_tokenizer,
    "lower": lambda: words_tokenizer(lower=True),
    "bytes": bytes_tokenizer,
    "spaces": spaces_tokenizer,
    "split bytes": lambda: bytes_tokenizer(290),
    "split spaces": lambda: spaces_tokenizer(split=True),
}
TOKENIZERS = MAKES | {
    f"slow {name}": lambda make=make: Slow(make()) for name, make in MAKES.items()
}
WHOLE = [name for name in TOKENIZERS if "split" not in name]


@cache
def tokenizer_of(name: str) -> Any:
    return TOKENIZERS[name]()


class Fake:
    """Of a model, what a task needs; `answers` are its most likely next tokens by prompt."""

    def __init__(self, tokenizer: Any, *, n_ctx: int = 64, answers: dict | None = None) -> None:
        self.tokenizer = tokenizer
        self.n_ctx = n_ctx
        self.answers = answers or {}
        self.info = SimpleNamespace(name="fake")

    def tokenize(self, prompts: Any) -> TokenBatch:
        if isinstance(prompts, TokenBatch):
            return prompts
        return pad_tokens([self.tokenizer(prompt)["input_ids"] for prompt in prompts], 0)

    def logits(self, prompts: Any) -> torch.Tensor:
        batch = self.tokenize(prompts)
        logits = torch.zeros(len(batch), 1, 1100)
        for i in range(len(batch)):
            logits[i, 0, self.answers.get(tuple(batch.row(i)), 0)] = 1
        return logits


def fake(name: str, **options: Any) -> Fake:
    return Fake(tokenizer_of(name), **options)


def squeeze(text: str) -> str:
    return "".join(text.split()).casefold()


def message(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        call(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def pair(**changes: Any) -> Row:
    """A months pair by hand, with changes."""
    given: dict[str, Any] = {
        "clean": "Two months from January is",
        "corrupted": "Two months from May is",
        "target": "March",
        "foil": "July",
    }
    return Row(**(given | changes))


def build(rows: list[Row], tokenizer: str = "words", **options: Any) -> Task:
    model = options.pop("model", None) or fake(tokenizer)
    return build_task(rows, model, name="hand", **options)


# Positions and answers


def test_known_positions_and_answers() -> None:
    rows = [pair(), pair(clean="If it is March now", corrupted="If it is June now")]
    # <bos> Two months from January is: January is the fifth token, "is" the sixth.
    task = build(rows[:1], "words")
    assert task.input_positions.tolist() == task.corrupted_input_positions.tolist() == [4]
    assert task.prediction_positions.tolist() == task.corrupted_prediction_positions.tolist() == [5]
    vocabulary = tokenizer_of("words").get_vocab()
    assert task.target_ids.tolist() == [vocabulary["March"]]
    assert task.foil_ids.tolist() == [vocabulary["July"]]
    # Without a BOS token everything is one earlier, and answers have their space.
    task = build(rows[:1], "bytes")
    assert task.input_positions.tolist() == [3]
    assert task.prediction_positions.tolist() == [4]
    assert tokenizer_of("bytes").decode(task.target_ids) == " March"
    # Prompts of different lengths each have their own last token.
    task = build([*rows, pair()], "lower")
    assert task.prediction_positions.tolist() == [5, 5, 5]
    assert task.input_positions.tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=25, deadline=None)
@given(
    task=st.sampled_from(["months", "weekdays", "nested-months", "near-months", "roughly-months"]),
    seed=st.integers(0, 10_000),
)
def test_the_input_token_ends_the_input_word(name: str, task: str, seed: int) -> None:
    model = fake(name)
    options: dict[str, Any] = {"n": 3, "seed": seed}
    if task in list_tasks() and list_templates(task):
        options["template"] = "all"
    if name not in WHOLE:
        rows = _rows_with_answers_in_one_token(task, options)
        loaded = build_task(rows, model, name=task)
    else:
        loaded = load_task(task, model, **options)
    tokenizer = model.tokenizer
    sides: list[Any] = [
        (loaded.clean, loaded.clean_tokens, loaded.input_positions, "alpha"),
        (
            loaded.corrupted,
            loaded.corrupted_tokens,
            loaded.corrupted_input_positions,
            "corrupted_alpha",
        ),
    ]
    for texts, batch, positions, label in sides:
        for i, (text, word) in enumerate(zip(texts, loaded.labels[label], strict=True)):
            row, at = batch.row(i), int(positions[i])
            piece = squeeze(tokenizer.decode([row[at]]))
            assert piece
            assert squeeze(word).endswith(piece) or piece == "<unk>"
            if "<unk>" not in tokenizer.decode(row):
                up_to = squeeze(tokenizer.decode(row[: at + 1], skip_special_tokens=True))
                assert up_to == squeeze(text[: text.rindex(word) + len(word)])
    for texts, ids in ((loaded.target, loaded.target_ids), (loaded.foil, loaded.foil_ids)):
        for text, token in zip(texts, ids, strict=True):
            assert squeeze(tokenizer.decode([token])) == squeeze(text)
    assert all(
        loaded.clean_tokens.row(i) != loaded.corrupted_tokens.row(i) for i in range(len(loaded))
    )
    assert (loaded.target_ids != loaded.foil_ids).all()


def _rows_with_answers_in_one_token(task: str, options: dict[str, Any]) -> list[Row]:
    """The task's prompts, with answers that a tokenizer of single letters knows."""
    whole = load_task(task, fake("bytes"), **options)
    rows = []
    for i in range(len(whole)):
        labels = {str(k): v for k, v in whole.labels.iloc[i].items()}
        rows.append(
            Row(
                clean=whole.clean[i],
                corrupted=whole.corrupted[i],
                target=",",
                foil=".",
                input=labels["alpha"],
                corrupted_input=labels["corrupted_alpha"],
                labels=labels,
            )
        )
    return rows


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=30), st.data(), st.booleans())
def test_byte_offsets_and_decoding_find_the_same_token(text: str, data: Any, spaces: bool) -> None:
    tokenizer = tokenizer_of("split bytes")
    end = data.draw(st.integers(1, len(text)))
    assume(not text[end - 1].isspace() and "<" not in text)
    ids = token_ids(tokenizer, [text])[0]
    at = token_at(tokenizer, text, ids, (end - 1, end))
    start = text[:end].encode()
    before, after = (len(tokenizer_bytes(tokenizer, ids[:k])) for k in (at, at + 1))
    assert before < len(start) <= after


def tokenizer_bytes(tokenizer: Any, ids: list[int]) -> bytes:
    alphabet = {c: b for b, c in byte_characters().items()}
    return bytes(alphabet[c] for piece in tokenizer.convert_ids_to_tokens(ids) for c in piece)


@cache
def byte_characters() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def test_an_input_of_several_words_ends_at_its_last_token() -> None:
    row = pair(
        clean="two months after three months from June is",
        corrupted="two months after two months from June is",
        input="three months",
        corrupted_input="two months",
    )
    task = build([row], "words")
    assert task.input_positions.tolist() == task.corrupted_input_positions.tolist() == [5]


@pytest.mark.parametrize(
    ("prompt", "other", "part", "expected"),
    [
        # The mention that differs, not the first one nor the last one.
        ("Mary and John met, John gave", "Mary and John met, Mary gave", "John", 19),
        ("John met John and John", "John met Mary and John", "John", 9),
        # Whole words before pieces of others.
        ("Maybe May is", "Maybe June is", "May", 6),
        ("an anagram", "an anagram", "nagr", 4),
        ("May-June is", "May-July is", "June", 4),
        ("für Müller", "für Meier", "Müller", 4),
    ],
)
def test_which_occurrence_is_the_input(prompt: str, other: str, part: str, expected: int) -> None:
    assert find_input(prompt, part, other) == (expected, expected + len(part))


def test_inputs_that_cannot_be_found() -> None:
    assert "'May' does not occur in" in message(find_input, "June is", "May", None)
    assert "occurs 2 times" in message(find_input, "May and May", "May", None)
    assert "occurs 2 times" in message(find_input, "May and May", "May", "June and June")
    row = pair(input="April", where="line 7")
    assert message(build, [row]).startswith("task 'hand': line 7: 'April' does not occur in")


def test_the_varying_part_is_found_by_comparing() -> None:
    assert varying_span("Two days from Monday is", "Two days from Friday is") == (14, 20)
    assert varying_span("from May, is", "from early June, is") == (5, 8)
    assert varying_span("a b c", "a c") == (2, 3)
    assert varying_span("a c", "a b c") is None
    assert varying_span("John and Mary", "Mary and John") is None
    assert varying_span("same", "same") is None


def test_without_one_varying_part_there_are_no_input_positions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    swapped = pair(
        clean="Mary and John went to the store , John gave a drink to",
        corrupted="John and Mary went to the store , Mary gave a drink to",
        target="Mary",
        foil="John",
        where="line 9",
    )
    with caplog.at_level(logging.WARNING):
        task = build([swapped, pair()])
    assert task.input_positions is None
    assert task.corrupted_input_positions is None
    assert "input positions are unknown" in caplog.text
    assert "line 9" in caplog.text


def test_ioi_input_is_the_second_mention() -> None:
    row = pair(
        clean="When Mary and John went to the store, John gave a drink to",
        corrupted="When Mary and John went to the store, Mary gave a drink to",
        target="Mary",
        foil="John",
        input="John",
        corrupted_input="Mary",
    )
    for name, expected in (("words", 10), ("bytes", 9), ("slow bytes", 9)):
        task = build([row], name)
        assert (
            task.input_positions.tolist() == task.corrupted_input_positions.tolist() == [expected]
        )


def test_plain_prompts_may_have_an_input() -> None:
    rows = [Row(clean="Two months from May is", input="May"), Row(clean="from June", input="June")]
    task = build(rows)
    assert not task.has_pairs
    assert task.corrupted is None
    assert task.target_ids is None
    assert task.input_positions.tolist() == [4, 2]
    assert task.prediction_positions.tolist() == [5, 2]
    assert task.corrupted_prediction_positions is None
    assert build([Row(clean="Two months")]).input_positions is None


def glyph_tokenizer(*, isolate: bool) -> PreTrainedTokenizerFast:
    """Few tokens, to tell exactly what follows what: spaces in front of words, or by themselves."""
    space = "\u2581"
    pieces = ["is", "March", "May", "(", "=", "7", ",", "'", '"', space]
    pieces += [] if isolate else [space + p for p in ("is", "March", "May", "7", "=", '"')]
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", *pieces])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", space)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"\w+|\W" if isolate else r"\u2581?[a-zA-Z0-9]+|\u2581?[=\"]|\W"), "isolated"
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace(space, " "), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("is", "March", " March"),
        ("is", " March", " March"),
        ("is (", "March", "March"),
        ('is "', "March", "March"),
        ("May, is", "7", " 7"),
        ("May=", "7", "7"),
        ("May =", "7", " 7"),
        ("is", ",", ","),
        ("May is,", "May", " May"),
    ],
)
def test_answers_follow_as_they_are_written(prompt: str, answer: str, expected: str) -> None:
    tokenizer = glyph_tokenizer(isolate=False)
    (token,) = answer_tokens(tokenizer, [prompt], [answer])
    assert isinstance(token, int), token
    assert tokenizer.decode([token]) == expected


def test_answers_that_are_not_one_token() -> None:
    tokenizer = glyph_tokenizer(isolate=False)
    reasons = answer_tokens(
        tokenizer, ["is", "is", "is ", "is"], ["June", "March May", "March", "( March"]
    )
    assert reasons[0] == "not in the vocabulary (<unk>)" or "<unk>" in str(reasons[0])
    assert reasons[1] == "' March' + ' May'"
    assert reasons[2] == "the prompt ends in a space that is a token of its own; remove that space"
    assert isinstance(reasons[3], str)
    # Where a space is a token of its own, the model says that first: "isMarch" is no way out.
    alone = glyph_tokenizer(isolate=True)
    assert answer_tokens(alone, ["is"], ["March"]) == ["' ' + 'March'"]
    assert alone.decode(answer_tokens(alone, ["is "], ["March"])) == "March"
    # Behind a sign that is no word, the answer without a space is as good.
    assert alone.decode(answer_tokens(alone, ["May ="], ["7"])) == "7"


def test_multi_token_answers_are_listed_or_dropped() -> None:
    bad = [pair(target=f"Word{i}", where=f"line {i + 2}") for i in range(7)]
    text = message(build, [*bad, pair()])
    assert "7 of this task's are not for this tokenizer, in 7 of 8 pairs: 'Word0' (line 2: " in text
    assert "'Word4'" in text
    assert "'Word5'" not in text
    assert "and 2 more" in text
    assert "on_multi_token='drop'" in text
    assert "and 1 of this task's is not for this" in message(build, [bad[0], pair()])
    task = build([*bad, pair()], on_multi_token="drop")
    assert (len(task), task.n_drawn, task.n_multi_token) == (1, 8, 7)
    assert "no pair is left" in message(build, bad, on_multi_token="drop")
    text = message(build, [pair(foil="Nuary")], "split bytes")
    assert "'Nuary' (row 0: ' ' + 'N' + " in text


def test_same_answers_and_same_prompts_are_errors() -> None:
    text = message(build, [pair(), pair(foil=" March", where="line 3")])
    assert "target and foil are the same answer in line 3" in text
    assert "the same token" in message(build, [pair(foil="march")], "lower")
    same = pair(corrupted=pair().clean, where="line 4")
    assert "the same prompt in line 4" in message(build, [same])
    unknown = pair(clean="Two months from Foo is", corrupted="Two months from Bar is")
    assert "the words that differ may be unknown" in message(build, [unknown])


def test_empty_and_long_prompts_name_their_row() -> None:
    assert "line 5: clean is empty" in message(build, [pair(clean=" ", where="line 5")])
    assert "row 1: prompt is empty" in message(build, [Row(clean="Two"), Row(clean="\n")])
    long = pair(clean="from " * 70 + "May is", where="line 6")
    text = message(build, [pair(), long])
    assert "line 6: the prompt 'from from" in text
    assert "has 73 tokens, and the model's context holds 64" in text
    assert "there are no prompts" in message(build, [])


def test_a_token_behind_every_prompt_is_refused() -> None:
    ending = words_tokenizer()
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 2)]
    )
    text = message(build, [pair()], model=Fake(ending))
    assert "puts '<eos>' behind every prompt" in text
    assert "add_eos_token=False" in text


# Loading


@pytest.mark.parametrize("name", ["months", "near-weekdays"])
def test_the_same_seed_gives_the_same_task(name: str) -> None:
    first, again, other = (load_task(name, fake("words"), n=20, seed=s) for s in (1, 1, 2))
    assert first.to_frame().equals(again.to_frame())
    assert not first.to_frame().equals(other.to_frame())
    assert first.seed == 1
    assert first.n_drawn == len(first) == 20


def test_templates() -> None:
    model = fake("bytes")
    assert set(load_task("months", model, n=20).labels["template"]) == {"from"}
    chosen = load_task("months", model, n=20, template=["from", "minus"])
    assert chosen.labels["template"].value_counts().to_dict() == {"from": 10, "minus": 10}
    every = load_task("months", model, n=24, template="all")
    assert set(every.labels["template"].value_counts()) == {2}
    assert list_templates("ioi") == ("when", "after", "at", "then")
    text = message(load_task, "months", model, template="form")
    assert "no template 'form'. Did you mean from" in text
    assert "or 'all'" in text
    assert "has one wording only" in message(load_task, "stories", model, template="x")
    assert "no template none" in message(load_task, "months", model, template=[])


def test_unknown_tasks_and_options() -> None:
    model = fake("words")
    text = message(load_task, "Month", model)
    assert "there is no task 'Month'. Did you mean months" in text
    assert "weekdays, " in text
    assert "there is no task 'zzz'. Tasks: months" in message(load_task, "zzz", model)
    assert "there is no task" in message(load_task, "Two months from May is " * 100, model)
    assert "n must be at least 1" in message(load_task, "months", model, n=0)
    for wrong in ({"on_multi_token": "skip"}, {"keep": "right"}):
        with pytest.raises((ValueError, TypeError)):  # TypeError where annotations are checked
            build([pair()], **wrong)


def test_files_are_loaded_for_the_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"clean": f"Two months from {a} is", "corrupted": f"Two months from {b} is"}
        | {"target": t, "foil": f, "group": g}
        for a, b, t, f, g in (
            ("January", "May", "March", "July", "x"),
            ("June", "August", "August", "October", "y"),
            ("May", "July", "July", "September", "z"),
        )
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    model = fake("words")
    task = load_task(str(path), model)
    assert task.name == "pairs.jsonl"
    assert list(task.labels["group"]) == ["x", "y", "z"]
    assert task.input_positions.tolist() == [4, 4, 4]
    with caplog.at_level(logging.WARNING):
        some = load_task(path, model, n=2, seed=1)
    assert "2 of its 3 rows are used; n=None takes all" in caplog.text
    assert len(some) == some.n_drawn == 2
    assert [task.clean.index(text) for text in some.clean] == sorted(
        task.clean.index(text) for text in some.clean
    )
    assert "is a file" in message(load_task, path, model, template="from")
    path.write_text(json.dumps(rows[0] | {"target": "Mars"}))
    assert "task 'pairs.jsonl': answers must be one token" in message(load_task, path, model)
    assert "(line 1: " in message(load_task, path, model)
    with pytest.raises(FileNotFoundError, match=r"Is it pairs.jsonl\?"):
        load_task(tmp_path / "pair.jsonl", model)


# Filtering and selecting


def knowing(task: Task, *, wrong_clean: set[int], wrong_corrupted: set[int]) -> Fake:
    """A model that answers all of a task's prompts but some rightly."""
    answers = {}
    for i in range(len(task)):
        answers[tuple(task.clean_tokens.row(i))] = 0 if i in wrong_clean else task.target_ids[i]
        answers[tuple(task.corrupted_tokens.row(i))] = (
            0 if i in wrong_corrupted else task.foil_ids[i]
        )
    return fake("words", answers=answers)


def test_pairs_that_the_model_gets_right() -> None:
    rows = [
        pair(
            clean=f"Two months from {a} is",
            corrupted=f"Two months after {b} is",
            target=calendar.MONTHS[(i + 2) % 12],
            foil=calendar.MONTHS[(i + 3) % 12],
            labels={"alpha": a},
        )
        for i, (a, b) in enumerate(
            zip(calendar.MONTHS, calendar.MONTHS[1:] + calendar.MONTHS[:1], strict=True)
        )
    ]
    rows = rows * 4  # more than one batch
    task = build(rows)
    model = knowing(task, wrong_clean={36, 40}, wrong_corrupted={40, 47})
    kept = build(rows, model=model, keep="correct")
    assert (len(kept), kept.n_wrong, kept.n_drawn) == (36, 12, 48)
    assert not set(kept.labels["alpha"]) & {"January", "May", "December"}
    assert kept.clean == tuple(c for i, c in enumerate(task.clean) if i % 12 not in (0, 4, 11))
    text = message(build, rows, keep="correct")
    assert "'fake' answers none of the 48 pairs rightly (clean prompts 0% right" in text
    assert "plain prompts" in message(build, [Row(clean="Two months")], keep="correct")


def test_pairs_are_kept_by_what_the_model_says(tiny_llama: DepthModel) -> None:
    """By hand from the logits; every pair is correct or wrong, and what is correct is preferred."""
    frame = load_task("months", tiny_llama, n=40, template="all").to_frame()
    own = [
        tiny_llama.logits(frame[side].tolist())[:, 0].argmax(-1) for side in ("clean", "corrupted")
    ]
    # Half of the pairs have the model's own answers, where these differ.
    mine = (own[0] != own[1]) & (torch.arange(40) % 2 == 0)
    for side, tokens in zip(("target", "foil"), own, strict=True):
        given = torch.tensor(frame[f"{side}_id"].tolist())
        frame[f"{side}_id"] = torch.where(mine, tokens, given).tolist()
        del frame[side]
    whole = load_task(frame, tiny_llama, n=None)
    target, foil = whole.target_ids, whole.foil_ids
    rows = torch.arange(len(whole))
    clean, corrupted = (
        tiny_llama.logits(t)[:, 0] for t in (whole.clean_tokens, whole.corrupted_tokens)
    )
    right = (clean.argmax(-1) == target) & (corrupted.argmax(-1) == foil)
    preferred = (clean[rows, target] > clean[rows, foil]) & (
        corrupted[rows, foil] > corrupted[rows, target]
    )
    assert mine.any()
    expected = {"correct": right, "preferred": preferred, "wrong": ~right}
    for keep, kept in expected.items():
        task = load_task(frame, tiny_llama, n=None, keep=keep)  # type: ignore[arg-type]
        assert task.clean == whole.select(kept).clean
        out = int((~kept).sum())
        assert (task.n_wrong, task.n_unkept) == ((out, 0) if keep == "correct" else (0, out))
        assert task.keep == keep
        profile = patch_sweep(tiny_llama, task, depths=[tiny_llama.n_layers])
        pairs = profile.provenance.pairs
        assert (pairs["used"], pairs["drawn"], pairs["keep"]) == (len(task), 40, keep)
        # At depth L the clean prompt's own state is read: success is what was kept by.
        success = profile.efficacy("prediction")[:, 0].bool()
        said = clean[kept]
        by = said[torch.arange(len(said)), target[kept]]
        first = said.argmax(-1) == target[kept]
        likelier = by > said[torch.arange(len(said)), foil[kept]]
        assert success.tolist() == (likelier if keep == "preferred" else first).tolist()
    assert (preferred | ~right).all()


def test_selection() -> None:
    task = load_task("months", fake("words"), n=10)
    some = task.select([7, -8, 2])
    assert some.clean == (task.clean[7], task.clean[2], task.clean[2])
    assert some.target_ids.tolist() == task.target_ids[[7, 2, 2]].tolist()
    assert list(some.labels["alpha"]) == [task.labels["alpha"][i] for i in (7, 2, 2)]
    assert some.clean_tokens.row(0) == task.clean_tokens.row(7)
    assert some.n_drawn == 10
    assert len(task) == 10
    mask = torch.arange(10) % 2 == 0
    for rows in (mask, mask.numpy(), mask.tolist(), slice(None, None, 2), np.arange(0, 10, 2)):
        assert task.select(rows).clean == task.clean[::2]
    assert len(task.select(task.labels["beta"].to_numpy() <= 6)) < 10
    with pytest.raises(ValueError, match=r"none of the 10 rows"):
        task.select([])
    with pytest.raises(IndexError, match=r"one truth value per pair, 10"):
        task.select([True, False])
    with pytest.raises(IndexError):
        task.select([10])
    with pytest.raises(AttributeError):
        task.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_frame() -> None:
    frame = build([pair(labels={"target": "mine", "beta": 2}), pair(labels={"beta": 3})]).to_frame()
    assert list(frame.columns[:5]) == ["pair", "clean", "corrupted", "target", "foil"]
    assert list(frame["target"]) == ["March", "March"]
    assert frame.loc[0, "label_target"] == "mine"
    assert list(frame["input_position"]) == [4, 4]
    assert list(frame["beta"]) == [2, 3]
    plain = build([Row(clean="Two months")]).to_frame()
    assert list(plain.columns) == ["pair", "clean", "prediction_position"]


def test_every_task_is_listed_with_an_example() -> None:
    assert {"months", "weekdays", "ioi", "capitals", "copy", "binding"} <= list_tasks().keys()
    assert all(description and "\n" not in description for description in list_tasks().values())


def test_with_a_real_model(tiny_llama: DepthModel) -> None:
    task = load_task("months", tiny_llama, n=12)
    logits = tiny_llama.logits(task.clean_tokens)[:, -1]
    assert logits.shape[0] == 12
    assert (task.prediction_positions == task.input_positions + 1).all()
    right = logits.argmax(-1) == task.target_ids
    right &= tiny_llama.logits(task.corrupted_tokens)[:, -1].argmax(-1) == task.foil_ids
    if right.any():
        kept = load_task("months", tiny_llama, n=12, keep="correct")
        assert kept.clean == task.select(right).clean
        assert kept.n_wrong == int((~right).sum())
    else:
        text = message(load_task, "months", tiny_llama, n=12, keep="correct")
        assert f"{tiny_llama.info.name!r} answers none of the 12 pairs rightly" in text
