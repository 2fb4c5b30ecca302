"""Metrics against hand-computed values, scipy, and their own bounds."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from lensdepth import metrics

LOGITS = arrays(np.float64, (2, 7), elements=st.floats(-30, 30))


def from_probs(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_known_values_by_hand() -> None:
    p, q = from_probs([0.5, 0.5, 0.0]), from_probs([0.25, 0.5, 0.25])
    assert metrics.kl_divergence(p, q).item() == pytest.approx(0.5 * math.log(2))
    assert metrics.kl_divergence(q, p).item() == math.inf
    assert metrics.entropy(p).item() == pytest.approx(math.log(2))
    disjoint = metrics.js_divergence(from_probs([1.0, 0.0]), from_probs([0.0, 1.0]))
    assert disjoint.item() == pytest.approx(math.log(2))


def test_logit_diff_rank_and_top1() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0]])
    target, foil = torch.tensor([0, 2]), torch.tensor([1, 0])
    assert metrics.logit_diff(logits, target, foil).tolist() == [2.0, 5.0]
    assert metrics.token_rank(logits, torch.tensor([1, 2])).tolist() == [2, 0]
    assert metrics.is_top1(logits, torch.tensor([0, 0])).tolist() == [True, False]
    assert metrics.is_top1(logits, torch.tensor([2, 2])).tolist() == [False, False]  # a tie's first
    expected = logits.log_softmax(-1)[[0, 1], [0, 2]]
    torch.testing.assert_close(metrics.token_log_prob(logits, target), expected)


@given(LOGITS)
def test_divergences_agree_with_scipy(logits: np.ndarray) -> None:
    p, q = (np.exp(x - np.logaddexp.reduce(x)) for x in logits)
    a, b = torch.from_numpy(logits)
    assert metrics.kl_divergence(a, b).item() == pytest.approx(scipy_entropy(p, q), abs=1e-9)
    # scipy takes the root of what rounding made negative where p and q are nearly equal
    expected = np.nan_to_num(jensenshannon(p, q)) ** 2
    assert metrics.js_divergence(a, b).item() == pytest.approx(expected, abs=1e-6)
    assert metrics.entropy(a).item() == pytest.approx(scipy_entropy(p), abs=1e-9)


@given(LOGITS, st.floats(-50, 50))
def test_divergences_ignore_a_shift_of_the_logits(logits: np.ndarray, shift: float) -> None:
    a, b = torch.from_numpy(logits)
    moved = metrics.js_divergence(a + shift, b)
    torch.testing.assert_close(moved, metrics.js_divergence(a, b), atol=1e-9, rtol=0)


def test_half_precision_is_widened_before_anything_is_summed() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).half()
    assert metrics.entropy(logits).dtype == torch.float32
    torch.testing.assert_close(metrics.entropy(logits), metrics.entropy(logits.float()))


def test_transferred_fraction_is_zero_at_base_one_at_source_and_nan_without_a_gap() -> None:
    base, source = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([3.0, 2.0, 3.0])
    halfway = (base + source) / 2
    runs = torch.stack([base, halfway, source])
    found = metrics.transferred_fraction(runs, base, source)
    assert found[:, :2].tolist() == [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    assert found[:, 2].isnan().all()


@given(LOGITS, st.floats(-50, 50))
def test_a_logit_difference_is_the_difference_of_its_halves(
    logits: np.ndarray, shift: float
) -> None:
    """And the halves know nothing of a shift of all logits."""
    x = torch.from_numpy(logits)
    target, foil = torch.tensor([2, 5]), torch.tensor([6, 0])
    halves = metrics.answer_logit(x, target, foil), metrics.answer_logit(x, foil, target)
    others = [
        np.delete(row, answers).mean()
        for row, answers in zip(logits, ([2, 6], [5, 0]), strict=True)
    ]
    expected = [logits[0, 2] - others[0], logits[1, 5] - others[1]]
    assert halves[0].tolist() == pytest.approx(expected, abs=1e-9)
    torch.testing.assert_close(halves[0] - halves[1], metrics.logit_diff(x, target, foil))
    moved = metrics.answer_logit(x + shift, target, foil)
    torch.testing.assert_close(moved, halves[0], atol=1e-9, rtol=0)


def test_where_there_are_no_other_tokens_an_answer_is_beside_nothing() -> None:
    logits = torch.tensor([[3.0, -1.0]])
    assert metrics.answer_logit(logits, torch.tensor([0]), torch.tensor([1])).tolist() == [3.0]


def test_a_way_of_rounding_is_none() -> None:
    way = torch.tensor([0.0, 5e-7, -5e-7, 2e-6, -2e-6, 0.5])
    share = metrics.share_of_way(way / 2, way)
    assert share.isnan().tolist() == [True, True, True, False, False, False]
    assert share[3:].tolist() == pytest.approx([0.5] * 3)


def test_of_a_batch_with_several_axes_each_row_stands_for_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 2, 3, 5, generator=generator, dtype=torch.float64)
    some = torch.where(torch.arange(5) == 1, -math.inf, p)  # p leaves out what q allows
    token = torch.randint(5, (2, 3), generator=generator)
    for function, *args in (
        (metrics.logit_diff, p, token, (token + 1) % 5),
        (metrics.answer_logit, p, token, (token + 1) % 5),
        (metrics.token_log_prob, p, token),
        (metrics.token_prob, p, token),
        (metrics.token_rank, p, token),
        (metrics.first_choice, p),
        (metrics.is_top1, p, token),
        (metrics.entropy, p),
        (metrics.kl_divergence, p, q),
        (metrics.kl_divergence, some, q),
        (metrics.kl_divergence, some, some),
        (metrics.js_divergence, p, q),
    ):
        found = function(*args)
        for at in itertools.product(range(2), range(3)):
            alone = function(*(x[at] for x in args))
            torch.testing.assert_close(found[at], alone, msg=function.__name__)


@pytest.mark.parametrize("asked", ["token_rank", "first_choice"])
def test_an_order_refuses_nan_and_says_where_the_first_is(asked: str) -> None:
    logits = torch.zeros(2, 3, 4)
    logits[0, 1, 2] = logits[1, 2, 0] = math.nan
    given = (logits, torch.zeros(2, 3, dtype=torch.long))[: 2 if asked == "token_rank" else 1]
    with pytest.raises(ValueError, match=rf"{asked}: the logits at \[0, 1\] hold NaN"):
        getattr(metrics, asked)(*given)
