"""What the model says of twenty prompts of every sort, beside plain transformers."""

import pytest
import torch

from lensdepth.model import DepthModel
from real.plain import Plain

PROMPTS = (
    "The capital of France is",
    "Hello",
    " a space in front",
    "a space behind ",
    "1, 2, 3, 4,",
    "In 1969, 3.5% of 2,048 people",
    "up -> down\nhot -> cold\nbig ->",
    "When Mary and John went to the store, John gave a drink to",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "naïve café, coöperation; Ångström",
    "日本の首都は",
    "Столица Франции —",
    "עיר הבירה של צרפת היא",
    "🙂🙂🙃 means",
    "https://example.org/a?b=1&c=%20",
    "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n",
    "tabs\tand\r\nline ends\n\n\n",
    "the the the the the the the the the the the the",
    "SHOUTING IN CAPITALS, then (brackets) [of] {every} <kind>",
    "Once upon a time there was a king who had three daughters. " * 12 + "The youngest",
)
OF_LARGEST = 1e-4
"""Most that states differ, as a share of the largest norm."""


@pytest.fixture(scope="module")
def expected(plain: Plain) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(plain.states(prompt), plain.log_probs(prompt)) for prompt in PROMPTS]


def test_twenty_prompts_together_give_what_each_gives_alone_in_plain_transformers(
    real: DepthModel, expected: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    assert len(PROMPTS) == 20
    read = real.residual_stream(PROMPTS, positions="all").resid
    said = real.log_probs(PROMPTS)[:, -1]
    for i, (states, log_probs) in enumerate(expected):
        n = states.shape[1]
        assert real.tokenize([PROMPTS[i]]).tokens.shape[1] == n
        far = (read[:, i, :n] - states).norm(dim=-1).max()
        assert far < OF_LARGEST * states.norm(dim=-1).max(), PROMPTS[i]
        torch.testing.assert_close(
            said[i].double(), log_probs, rtol=0, atol=1e-3, msg=lambda m, i=i: f"{PROMPTS[i]}: {m}"
        )


def test_what_is_written_token_by_token_is_what_transformers_writes(
    real: DepthModel, plain: Plain
) -> None:
    prompt = "Once upon a time there was a king who"
    ids = torch.tensor([plain.ids(prompt)])
    theirs = plain.model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)[0]
    assert real.generate(prompt, max_new_tokens=12) == plain.tokenizer.decode(theirs)
