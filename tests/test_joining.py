# pyright: reportArgumentType=false, reportOptionalMemberAccess=false
"""Answers are text: what follows when prompt and answer are tokenized as one, whatever the make."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lensdepth.tasks import Task, build_task, load_task, pair_task
from lensdepth.tasks.files import read_rows
from lensdepth.tasks.joining import follow, is_open
from lensdepth.tasks.locate import answer_tokens, guess_joining
from lensdepth.tasks.rows import Row
from lensdepth.tokens import TokenBatch, pad_tokens, told_apart

WORDS = ("is", "March", "May", "year", "the", "13", "53", "17", "7", "5", "Paris", "一月是", "二月")
"""Each is one token, and so is each with a space in front; July is one with it alone."""


def byte_level(*, digits: str = "", add_prefix_space: bool = False) -> PreTrainedTokenizerFast:
    """As GPT-2's; with numbers split as `digits` says, which then have no space of their own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        if digits and word.isdigit():
            continue
        pieces = _bytes(word)
        for end in range(1, len(pieces)):
            merges[pieces[:end], pieces[end]] = None
        merges["Ġ", pieces] = None
    merges |= {("Ġ", "J"): None, ("ĠJ", "u"): None, ("ĠJu", "l"): None, ("ĠJul", "y"): None}
    if digits == "three":
        merges |= {("1", "3"): None, ("5", "3"): None, ("13", "5"): None}
    tokens = [*alphabet, *dict.fromkeys(a + b for a, b in merges)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    split = {"one": r"\p{N}", "three": r"\p{N}{1,3}"}.get(digits)
    tokenizer.pre_tokenizer = level
    if split:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(split), "isolated"), level]
        )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _bytes(text: str) -> str:
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return "".join(piece for piece, _ in level.pre_tokenize_str(text))


def pieces(scheme: str) -> PreTrainedTokenizerFast:
    """SentencePiece-like, with a space in front of every text or only where there is one."""
    known = {p: -2.0 for w in WORDS for p in (w, "▁" + w)}
    known |= {c: -9.0 for c in {*"".join(WORDS), *'▁(:=+"'} if c not in known}
    tokenizer = Tokenizer(models.Unigram([("<unk>", -20.0), *known.items()], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def words() -> PreTrainedTokenizerFast:
    """Whole words, and spaces nowhere."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "(", ":", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


GPT, PREFIXED = byte_level(), byte_level(add_prefix_space=True)
ONE, THREE = byte_level(digits="one"), byte_level(digits="three")
ALWAYS, NEVER, WHOLE = pieces("always"), pieces("never"), words()


class Fake:
    """Of a model, what a task needs."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.n_ctx = 64
        self.info = SimpleNamespace(name="fake")

    def tokenize(self, prompts: Any) -> TokenBatch:
        if isinstance(prompts, TokenBatch):
            return prompts
        given = [prompts] if isinstance(prompts, str) else prompts
        return pad_tokens([self.tokenizer(prompt)["input_ids"] for prompt in given], 0)

    def logits(self, prompts: Any) -> torch.Tensor:
        """May after what ends in "is", and a line break after all else."""
        batch, vocabulary = self.tokenize(prompts), self.tokenizer.get_vocab()
        says = [vocabulary["ĠMay" if row[-1] == vocabulary["Ġis"] else "Ċ"] for row in batch.tokens]
        return torch.nn.functional.one_hot(torch.tensor(says), len(vocabulary))[:, None].float()


def build(rows: list[Row], tokenizer: Any = GPT, **options: Any) -> Task:
    return build_task(rows, Fake(tokenizer), name="hand", **options)


def row(target: str | None, foil: str | None, **more: Any) -> Row:
    return Row(
        **{"clean": "the May is", "corrupted": "the March is"} | more, target=target, foil=foil
    )


def measured(task: Task, tokenizer: Any = GPT) -> list[str]:
    """The tokens of all targets, then of all foils."""
    return tokenizer.convert_ids_to_tokens([*task.target_ids.tolist(), *task.foil_ids.tolist()])


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "answer", "token"),
    [
        # The example of a year: no space is put in, and none is taken away.
        (GPT, "the year 13", "53", "53"),
        (GPT, "the year 13", " 53", "Ġ53"),
        (PREFIXED, "the year 13", "53", "53"),
        (PREFIXED, "the year 13", " 53", "Ġ53"),
        (ALWAYS, "the year 13", "53", "53"),
        (ALWAYS, "the year 13", " 53", "▁53"),
        (NEVER, "the year 13", "53", "53"),
        (NEVER, "the year 13", " 53", "▁53"),
        (ONE, "the year 13", "5", "5"),
        # Words behind words, with a space that is written or assumed.
        (GPT, "May is", " March", "ĠMarch"),
        (GPT, "May is", "March", "ĠMarch"),
        (PREFIXED, "May is", "March", "ĠMarch"),
        (ALWAYS, "May is", "March", "▁March"),
        (NEVER, "May is", " March", "▁March"),
        (WHOLE, "May is", "March", "March"),
        (WHOLE, "May is", " March", "March"),
        # Where no space belongs.
        (GPT, "the (", "May", "May"),
        (GPT, 'the year: "', "May", "May"),
        (GPT, '{"the":"', "May", "May"),
        (ONE, "the year ", "5", "5"),
        (GPT, "7=", "7", "7"),
        (GPT, "the $", "53", "53"),
        (ALWAYS, "the (", "May", "May"),
        (WHOLE, "the (", "May", "May"),
        (GPT, "一月是", "二月", _bytes("二月")),
        (NEVER, "一月是", "二月", "二月"),
        (GPT, "一月是", " 二月", "Ġ" + _bytes("二月")),
    ],
)
def test_the_token_measured_is_what_follows_as_text(
    tokenizer: Any, prompt: str, answer: str, token: str
) -> None:
    (found,) = answer_tokens(tokenizer, [prompt], [answer])
    assert isinstance(found, int), found
    assert tokenizer.convert_ids_to_tokens(found) == token
    spelled = answer if answer[0] == " " or not is_open(prompt, answer) else " " + answer
    assert tokenizer(prompt + spelled)["input_ids"][-1] == found


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "answer", "reason"),
    [
        (ONE, "the year 13", "53", "'5' + '3'"),
        (ONE, "the year 13", " 5", "' ' + '5'"),
        (THREE, "the year 13", "53", "the prompt's own tokens change when it follows"),
        (WHOLE, "the year 13", "53", "the prompt's own tokens change when it follows"),
        (GPT, "May is", "March ", "' March' + ' '"),
        (GPT, 'is "', "July", "'J' + 'u' + 'l' + 'y'"),
        (GPT, "is (", "July", "'J' + 'u' + 'l' + 'y'"),
        (GPT, "the year ", "53", "a space that is a token of its own"),
        (ALWAYS, "May is ", "March", "a space that is a token of its own"),
        (GPT, "一月是", "三月", "'�' + '�'"),
    ],
)
def test_what_is_not_one_token_is_refused_and_nothing_else_is_tried(
    tokenizer: Any, prompt: str, answer: str, reason: str
) -> None:
    (found,) = answer_tokens(tokenizer, [prompt], [answer])
    assert isinstance(found, str), tokenizer.convert_ids_to_tokens(found)
    assert reason in found


@pytest.mark.parametrize(
    ("prompt", "answer", "is_left_open"),
    [
        ("January is", "March", True),
        ("Answer:", "March", True),
        ("1, 2, 3,", "4", True),
        ("north -> south\nup ->", "down", True),
        ("2 + 2 =", "4", True),
        ("grade", "5", True),
        ("the word 水", "means", True),
        ("fire: 火\nwater:", "水", True),
        ("「火」 is", "水", True),
        ('He said "yes"', "and", True),
        ("the students'", "books", True),
        ("so „May“", "and", True),
        ("is", "'March'", True),
        ("January is", " March", False),
        ("January is", "\n", False),
        ("January is ", "March", False),
        ("A:\n", "March", False),
        ("to the year 13", "53", False),
        ("2+2=", "4", False),
        ("twenty-", "one", False),
        ("costs $", "5", False),
        ("in (", "May", False),
        ('She said "', "May", False),
        ('{"month": "May", "next":"', "June", False),
        ("the command `", "ls", False),
        ("x = '", "a", False),
        ("so „", "May", False),
        ("« ", "May", False),
        ("January is", ".", False),
        ("in (May", ")", False),
        ('"May', '"', False),
        ("the dog", "'s", False),
        ("did", "n't", False),
        ("三个月后是", "四月", False),
        ("三个月后是：", "四月", False),
        ("答案：", "May", False),
        ("三个月后是:", "四月", False),
        ("公元2024", "年", False),
        ("今年是", "2024", False),
        ("これは", "本", False),
        ("วันนี้", "ฝน", False),
    ],
)
def test_where_a_space_may_belong(prompt: str, answer: str, is_left_open: bool) -> None:
    assert is_open(prompt, answer) is is_left_open
    assert follow(prompt, answer, "literal") == answer
    assert follow(prompt, answer, "space") == (" " + answer if is_left_open else answer)


MIXED = [
    row("March", "May"),
    row("7", "5", clean="5, 7,", corrupted="7, 5,"),
    row("March", "May", clean="the (", corrupted="is ("),
]


def test_one_guess_holds_for_the_whole_file_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    # Digits have no space of their own in this tokenizer: the second row is left out, not glued.
    task = build(MIXED, ONE, on_multi_token="drop")
    assert measured(task, ONE) == ["ĠMarch", "March", "ĠMay", "May"]
    assert (task.joining, task.n_multi_token) == ("space", 1)
    assert task.target == ("March", "March")
    (said,) = caplog.messages
    assert "no answer begins with a space, and 4 of 6 are read as following one" in said
    assert "(' March' behind 'the May is')" in said
    assert "joining='literal'" in said
    with pytest.raises(ValueError, match=r"'7' \(row 1: ' ' \+ '7'\)"):
        build(MIXED, ONE)


def test_numbers_without_spaces_are_read_without_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = build(MIXED[1:2], ONE)
    assert measured(task, ONE) == ["7", "5"]
    assert task.joining == "literal"
    assert "2 of 2 are read as following without one ('7' behind '5, 7,')" in caplog.text
    caplog.clear()
    task = build([row("53", "17", clean="the year 13", corrupted="the year 17")])
    assert measured(task) == ["53", "17"]
    assert "2 of 2 continue a number ('53' behind 'the year 13')" in caplog.text


def test_a_file_that_writes_spaces_is_taken_at_its_word(caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(" March", " May"), row("53", "17", clean="the year 13", corrupted="the year 17")]
    task = build(rows)
    assert measured(task) == ["ĠMarch", "53", "ĠMay", "17"]
    assert task.target == (" March", "53")
    assert task.joining == "literal"
    assert not caplog.messages
    # One that forgot some is told.
    task = build([row(" March", "May")])
    assert measured(task) == ["ĠMarch", "May"]
    assert (
        "some answers begin with a space, and 1 of 2 are read as following without" in caplog.text
    )


def test_the_joining_can_be_settled(caplog: pytest.LogCaptureFixture) -> None:
    assert measured(build(MIXED[:1], joining="literal")) == ["March", "May"]
    assert measured(build(MIXED, joining="space")) == [
        "ĠMarch", "Ġ7", "March", "ĠMay", "Ġ5", "May",
    ]  # fmt: skip
    assert "space" not in caplog.text
    with pytest.raises((ValueError, TypeError)):
        build(MIXED, joining="glued")


def test_nothing_is_said_where_nothing_differs(caplog: pytest.LogCaptureFixture) -> None:
    for rows in ([row("March", "May")], [row(" March", "May")]):
        assert measured(build(rows, WHOLE), WHOLE) == ["March", "May"]
    build(MIXED[2:])
    for task in ("months", "ioi", "copy"):
        with pytest.raises(ValueError, match="no pair is left"):
            load_task(task, Fake(GPT), n=3, on_multi_token="drop", seed=1)
    assert not caplog.messages


def test_a_draw_from_a_file_does_not_change_its_joining(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = {"clean": "the May is", "corrupted": "the March is", "target": "March", "foil": "May"}
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps(p) for p in [plain] * 9 + [plain | {"foil": " May"}]))
    for n in (1, 5, None):
        task = load_task(path, Fake(GPT), n=n, seed=2)
        assert task.joining == "literal"
        assert set(measured(task)) <= {"March", "May", "ĠMay"}
    path.write_text("\n".join(json.dumps(p) for p in [plain] * 10))
    caplog.clear()
    assert load_task(path, Fake(GPT), n=1).joining == "space"
    assert [m for m in caplog.messages if "20 of 20 are read as following one" in m]


def test_answers_are_the_same_where_the_token_is() -> None:
    years = {"clean": "the year 13", "corrupted": "the year 17"}
    assert measured(build([row("53", " 53", **years)])) == ["53", "Ġ53"]
    with pytest.raises(ValueError, match="target and foil are the same answer in row 0"):
        build([row("53", "53", **years)])
    with pytest.raises(ValueError, match="target and foil are the same answer in row 0"):
        build([row(" March", "March", corrupted="the ", clean="the May is")], WHOLE)
    with pytest.raises(ValueError, match="target and foil are the same answer in row 0"):
        build([row("53", None, foil_id=id_of("53"), **years)])
    glued = row("March", None, foil_id=id_of("March"))
    assert measured(build([glued], joining="space")) == ["ĠMarch", "March"]
    assert told_apart([" 53", "53"]) == [" 53", "53"]
    assert told_apart([" March", "July", " March"]) == ["March", "July", "March"]
    assert told_apart(["\n", " March"]) == ["\n", " March"]


# Token ids


def id_of(token: str, tokenizer: Any = GPT) -> int:
    return tokenizer.convert_tokens_to_ids(token)


def test_answers_may_be_token_ids() -> None:
    # A piece that no text ends in here, a text beside its id, and an answer without one.
    task = build(
        [
            row(None, "March", target_id=id_of("ye")),
            row("march", " May", target_id=id_of("ĠMarch")),
        ]
    )
    assert measured(task) == ["ye", "ĠMarch", "March", "ĠMay"]
    assert task.target == ("ye", "march")
    assert task.foil == ("March", " May")
    split = build([row("", None, target_id=id_of("ä"), foil_id=id_of("å"))])
    assert split.target_ids.tolist() == [id_of("ä")]
    assert split.target == split.foil == ("�",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target_id": -1}, "row 0: target_id must be a token from 0 to"),
        ({"foil_id": 10**6}, "row 0: foil_id must be a token from 0 to"),
        ({"target_id": True}, "row 0: target_id must be a token from 0 to"),
        ({"target_id": id_of("ĠMay")}, "row 0: target is 'March', but target_id"),
    ],
)
def test_ids_that_are_none_name_their_row(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        build([row("March", "May", **given)])
    if said.startswith("row 0: target is"):
        assert "is the token ' May'" in str(caught.value)


def write(path: Path, frame: pd.DataFrame) -> Path:
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case _:
            path.write_text(frame.to_json(orient="records", lines=True))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_task_that_is_saved_and_read_again_has_its_tokens(tmp_path: Path, suffix: str) -> None:
    rows = [
        row(" March", "May"),
        row("53", " 53", clean="the year 13", corrupted="the year 17"),
        row("\n", None, foil_id=id_of("ä")),
        row(None, "March", target_id=id_of("Ġ"), corrupted='the "'),
    ]
    task = build(rows)
    again = load_task(write(tmp_path / f"p{suffix}", task.to_frame()), Fake(GPT))
    assert again.target_ids.tolist() == task.target_ids.tolist()
    assert again.foil_ids.tolist() == task.foil_ids.tolist()
    assert measured(task)[1] == "53"
    assert measured(task)[5] == "Ġ53"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_files_give_ids_with_texts_or_without(tmp_path: Path, suffix: str) -> None:
    prompts = {"clean": ["the May is"] * 2, "corrupted": ["the March is"] * 2}
    gaps = pd.DataFrame(
        {**prompts, "target": [None, " May"], "target_id": [7, None], "foil_id": [8, 9]}
    )
    rows = read_rows(write(tmp_path / f"gaps{suffix}", gaps))
    assert [(r.target, r.target_id, r.foil, r.foil_id) for r in rows] == [
        (None, 7, None, 8),
        (" May", None, None, 9),
    ]
    assert not rows[0].labels
    bare = pd.DataFrame({**prompts, "target_id": [7, 8], "foil_id": [8, 9]})
    assert [r.target_id for r in read_rows(write(tmp_path / f"bare{suffix}", bare))] == [7, 8]


@pytest.mark.parametrize("wrong", ["true", "1.5", "-1", '"1e3"', "1e400", '"x"', "[1]"])
def test_ids_in_files_are_whole_numbers(tmp_path: Path, wrong: str) -> None:
    texts = '"clean": "a b", "corrupted": "a c", "target": "x", "foil": "y"'
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{{texts}}}\n{{{texts}, "foil_id": {wrong}}}\n')
    with pytest.raises(ValueError, match=r"line 2: foil_id must be the id of a token, a whole"):
        read_rows(path)
    path.write_text(f'{{{texts}, "foil_id": 7.0}}\n')
    assert read_rows(path)[0].foil_id == 7


def test_answers_that_are_absent_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("clean,corrupted,target,target_id,foil\na b,a c,,3,y\na b,a c, ,,y\n")
    with pytest.raises(ValueError, match="line 3: target is empty"):
        read_rows(path)
    path.write_text("prompt,target_id\na,3\n")
    assert read_rows(path)[0].labels == {"target_id": 3}


def test_a_pair_takes_texts_ids_or_what_the_model_says(caplog: pytest.LogCaptureFixture) -> None:
    prompts = ("the year 13", "the March is")
    own = pair_task(*prompts, Fake(GPT))
    assert measured(own) == ["Ċ", "ĠMay"]
    assert (own.target, own.foil) == (("\n",), (" May",))
    assert measured(pair_task(*prompts, Fake(GPT), target="53", foil=" March")) == ["53", "ĠMarch"]
    assert measured(pair_task(*prompts, Fake(GPT), target_id=3, foil=" March"))[1] == "ĠMarch"
    assert not caplog.messages
    assert measured(pair_task(*prompts, Fake(GPT), foil="March"))[1] == "ĠMarch"
    assert "1 of 1 are read as following one" in caplog.text
    with pytest.raises(ValueError, match="both prompts are answered by ' May'"):
        pair_task("the March is", "the May is", Fake(GPT))


def test_many_answers_are_guessed_by_some() -> None:
    many = guess_joining(ONE, ["5, 7,"] * 2500, ["7"] * 2500)
    assert many.joining == "literal"
    assert "2500 of 2500" in many.said
