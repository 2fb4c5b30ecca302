"""Text as the model itself reads it: its tokens, its chat template, its weights."""

import json
from pathlib import Path

from lensdepth.chat import as_chat
from lensdepth.model import DepthModel
from lensdepth.tasks import load_task
from real.figures import FIGURES, digest_of
from real.plain import Plain

ENCODINGS = json.loads((Path(__file__).parent / "encodings.json").read_text(encoding="utf-8"))


def test_text_is_split_by_llama_cpps_rule_for_this_model(real: DepthModel) -> None:
    """Every digit by itself, then GPT-2's words, then merges; `encodings.json` was made from the
    GGUF file's own tokens and merges by a slow encoder that follows llama.cpp's source."""
    assert {text: real.tokenizer(text)["input_ids"] for text in ENCODINGS} == ENCODINGS


def test_a_number_is_one_token_a_digit_and_a_space_before_it_one_more(real: DepthModel) -> None:
    assert real.str_tokens("in 2024") == ["in", " ", "2", "0", "2", "4"]
    assert real.str_tokens("a  b") == ["a", " ", " b"]
    assert real.tokenizer.bos_token_id not in real.tokenize(["Hello"]).row(0)


SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def test_a_prompt_in_the_models_own_template(real: DepthModel) -> None:
    said = "What is the capital of France? Answer with one word."
    text = as_chat(said, real)
    assert text == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
        f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = real.tokenize([text]).row(0)
    start, end, line = 1, 2, 198
    assert [i for i in ids if i in (start, end)] == [start, end, start, end, start]
    assert ids[-1] == line
    assert as_chat(said, real, system="Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
    )
    # Without the place to answer it would go on with the user's words.
    answer = real.generate(text, max_new_tokens=8).removeprefix(text)
    assert answer.startswith("The capital of France is Paris")


def test_a_task_in_chat_is_read_where_the_assistant_begins(real: DepthModel) -> None:
    ask = "What is the capital of {}? Answer with one word."
    row = {
        "clean": ask.format("France"), "corrupted": ask.format("Italy"),
        "target": "Paris", "foil": "Rome", "input": "France", "corrupted_input": "Italy",
    }  # fmt: skip
    task = load_task([row], real, chat=True, keep="preferred")
    assert len(task) == 1
    words = real.str_tokens(task.clean[0])
    assert words[int(task.input_positions[0])] == " France"  # type: ignore[index]
    assert int(task.clean_tokens.last[0]) == len(words) - 1
    assert "".join(words).endswith("<|im_start|>assistant\n")


def test_the_weights_are_those_that_transformers_reads_from_the_same_file(plain: Plain) -> None:
    assert digest_of(plain.model) == FIGURES["weights"]
