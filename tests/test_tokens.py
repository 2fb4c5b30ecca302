import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from lensdepth.model import DepthModel, load_model
from lensdepth.provenance import Backend
from lensdepth.tasks import build_task
from lensdepth.tasks.locate import token_at
from lensdepth.tasks.rows import Row
from lensdepth.tokens import (
    TokenBatch,
    has_double_bos,
    of_like_lengths,
    pad_tokens,
    resolve_positions,
)

BATCH = pad_tokens([[5, 6, 7], [8], [9, 10]], pad_id=0)


def test_padding_is_on_the_right_and_rows_come_back() -> None:
    assert BATCH.tokens.tolist() == [[5, 6, 7], [8, 0, 0], [9, 10, 0]]
    assert [BATCH.row(i) for i in range(len(BATCH))] == [[5, 6, 7], [8], [9, 10]]
    assert BATCH.last.tolist() == [2, 0, 1]
    assert BATCH.mask.sum(-1).tolist() == [3, 1, 2]


def test_rows_are_taken_by_slice_or_index_without_needless_padding() -> None:
    assert BATCH[1:].tokens.tolist() == [[8, 0], [9, 10]]
    assert BATCH[torch.tensor([1, 1])].tokens.tolist() == [[8], [8]]


def test_positions_last_and_all() -> None:
    assert resolve_positions(BATCH, "last").tolist() == [[2], [0], [1]]
    assert resolve_positions(BATCH, "all").tolist() == [[0, 1, 2], [0, -1, -1], [0, 1, -1]]


def test_indices_one_or_several_per_prompt_count_from_each_end() -> None:
    assert resolve_positions(BATCH, [0, -1, -2]).tolist() == [[0], [0], [0]]
    several = torch.tensor([[0, -1], [0, -1], [0, -1]])
    assert resolve_positions(BATCH, several).tolist() == [[0, 2], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 1, 0], "positions: 1 lies outside prompt 1, which has 1 tokens"),
        ([0, 0, -3], "positions: -3 lies outside prompt 2"),
        ([0, 0], r"one row of indices per prompt is needed, got shape \[2, 1\] for 3 prompts"),
        ("first", "use 'last', 'all' or indices"),
    ],
)
def test_wrong_positions_are_named(positions: list[int] | str, message: str) -> None:
    with pytest.raises(Exception, match=message if positions != "first" else None):
        resolve_positions(BATCH, positions)  # type: ignore[arg-type]


def test_empty_prompts_and_wrong_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        pad_tokens([[1], []], pad_id=0)
    with pytest.raises(ValueError, match="there are no prompts"):
        pad_tokens([], pad_id=0)
    with pytest.raises(ValueError, match="lengths must lie between 1 and 3"):
        TokenBatch(tokens=BATCH.tokens, lengths=torch.tensor([3, 0, 2]))


# Two BOS tokens


def with_bos(how: str) -> PreTrainedTokenizerFast:
    """Words, with a BOS token put in front by a template, by a setting, or not at all."""
    tokenizer = copy.deepcopy(architectures.word_tokenizer())
    if how == "none":
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    if how == "sequence":  # as Llama 3's: byte-level offsets first, then the template
        tokenizer.backend_tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                tokenizer.backend_tokenizer.post_processor,
            ]
        )
    if how == "ended":
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)]
        )
    return tokenizer


@pytest.mark.parametrize(
    ("how", "text", "doubled"),
    [
        ("template", "<bos>Two months", True),
        ("template", "<bos> Two months", True),
        ("template", "Two months", False),
        ("template", "Two <bos>", False),
        ("template", "<bos><bos> Two", True),
        ("sequence", "<bos>Two months", True),
        ("ended", "<bos>Two months", True),
        ("none", "<bos>Two months", False),
        ("none", "<bos><bos>Two months", False),
        ("none", "Two Two months", False),
        ("template", "<bos>", True),
    ],
)
def test_a_second_bos_is_one_that_the_tokenizer_puts_in_front(
    how: str, text: str, doubled: bool
) -> None:
    tokenizer = with_bos(how)
    assert has_double_bos(tokenizer, text, tokenizer(text)["input_ids"]) is doubled


def test_a_second_bos_is_said_once_or_left_out(
    model_folder: Callable[[str], Path], backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    folder = model_folder("llama")
    both = load_model(folder, backend=backend)
    text, plain = "<bos>Two months from January is", "Two months from January is"
    ids = both.tokenize(plain).row(0)
    assert both.tokenize([text, text]).row(0) == [1, *ids]
    both.tokenize(text)
    (said,) = caplog.messages
    assert said.count("'<bos>Two months from January is' begins with <bos>") == 1
    assert "double_bos=False (--single-bos)" in said
    caplog.clear()
    one = load_model(folder, backend=backend, double_bos=False)
    assert one.tokenize(text).row(0) == ids
    assert one.tokenize([[1, 1, *ids]]).row(0) == [1, 1, *ids]  # ids are taken as given
    torch.testing.assert_close(one.logits(text), both.logits(plain))
    assert not caplog.messages


class Slow:
    """A tokenizer without character offsets."""

    is_fast = False

    def __init__(self, fast: PreTrainedTokenizerFast) -> None:
        self.fast = fast

    def __getattr__(self, name: str) -> Any:
        return getattr(self.fast, name)

    def __call__(self, text: Any, **options: Any) -> Any:
        assert "return_offsets_mapping" not in options
        return self.fast(text, **options)


@pytest.mark.parametrize(("fast", "words"), [(True, ["Eiffel", "xyzzy"]), (False, ["<unk>"] * 2)])
def test_unknown_words_stand_at_their_tokens(
    trained: DepthModel, fast: bool, words: list[str]
) -> None:
    tokenizer = trained.tokenizer if fast else Slow(trained.tokenizer)
    model = DepthModel(trained.model, tokenizer=tokenizer)
    text = "The Eiffel is xyzzy"
    found = model.unknown_words(text)
    assert [*found.values()] == words
    assert [i for i, token in enumerate(model.str_tokens(text)) if token == "<unk>"] == [*found]
    assert model.unknown_words("The capital of France is") == {}
    for double, place in ((True, 3), (False, 2)):
        model = DepthModel(trained.model, tokenizer=tokenizer, double_bos=double)
        assert [*model.unknown_words("<bos>The Eiffel")] == [place]


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("fast", [True, False])
def test_positions_and_lengths_go_with_it(tiny_llama: DepthModel, double: bool, fast: bool) -> None:
    tokenizer = with_bos("template") if fast else Slow(with_bos("template"))
    model = DepthModel(tiny_llama.model, tokenizer=tokenizer, double_bos=double)
    rows = [
        Row(
            clean=f"<bos>Two months {'from ' * n}January is",
            corrupted=f"<bos>Two months {'from ' * n}May is",
            target="March",
            foil="July",
        )
        for n in (1, 3)
    ]
    task = build_task(rows, model, name="doubled")
    assert task.input_positions is not None
    extra = int(double)
    # <bos> Two months from January is
    assert task.input_positions.tolist() == [4 + extra, 6 + extra]
    assert task.prediction_positions.tolist() == [5 + extra, 7 + extra]
    texts = [(row.clean, task.clean_tokens.row(i)) for i, row in enumerate(rows)]
    for text, ids in texts:
        at = text.index("January")
        assert model.token_text(ids[token_at(tokenizer, text, ids, (at, at + 7))]) == "January"
    # The context holds 48: all of it but for a second BOS.
    longest = f"<bos>{'from ' * 46}is"
    assert len(tokenizer(longest)["input_ids"]) == 49
    if double:
        with pytest.raises(ValueError, match="has 49 tokens, and the model's context holds 48"):
            build_task([Row(clean=longest)], model, name="long")
    else:
        assert len(build_task([Row(clean=longest)], model, name="long").clean_tokens.row(0)) == 48


def test_prompts_of_like_lengths_go_through_together() -> None:
    lengths = torch.tensor([12, 486, 10, 11, 12])
    blocks = of_like_lengths(lengths, lambda longest: 2048 // longest, free=64)
    assert [block.tolist() for block in blocks] == [[0, 2, 3, 4], [1]]
    few = of_like_lengths(lengths, lambda longest: 2, free=64)
    assert [block.tolist() for block in few] == [[2, 3], [0, 4], [1]]
    # Padding that is cheaper than a pass, or less than a quarter, is borne.
    free = of_like_lengths(lengths, lambda longest: 2048 // longest, free=2000)
    assert [block.tolist() for block in free] == [[0, 2, 3, 4], [1]]  # 5 * 486 are too many
    most = of_like_lengths(lengths, lambda longest: 9, free=2000)
    assert [block.tolist() for block in most] == [[0, 1, 2, 3, 4]]
    alike = of_like_lengths(torch.full((5,), 7), lambda longest: 2, free=0)
    assert [block.tolist() for block in alike] == [[0, 1], [2, 3], [4]]
    assert of_like_lengths(torch.tensor([], dtype=torch.long), lambda longest: 2, free=0) == []


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 99))
def test_every_prompt_is_in_one_block(lengths: list[int], most: int, free: int) -> None:
    blocks = of_like_lengths(torch.tensor(lengths), lambda longest: most, free=free)
    assert sorted(torch.cat(blocks).tolist()) == list(range(len(lengths)))
    for block in blocks:
        here = [lengths[i] for i in block.tolist()]
        assert len(here) <= most
        assert max(here) * len(here) - sum(here) <= max(free, sum(here) / 4)
