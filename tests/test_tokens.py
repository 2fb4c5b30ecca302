import pytest
import torch

from lensdepth.tokens import TokenBatch, pad_tokens, resolve_positions

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
