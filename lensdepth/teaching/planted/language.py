"""The words of the planted models, and prompts made of them."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

N = 6
"""Inputs of each kind."""
INPUTS = [f"in{i}" for i in range(2 * N)]
OUTPUTS = [f"out{i}" for i in range(2 * N)]
WORDS = ["from", "is", *INPUTS, *OUTPUTS]
WORDINGS = ("from {} is", "is {} is", "{} from is", "{} is is")
"""Ways to say it, of the same length; to a mean over tokens their order is all the same."""
N_POS = 4
"""Tokens of a prompt: <bos> from X is."""


def prompt_file(
    path: Path,
    pairs: list[tuple[int, int]],
    outputs: list[int],
    wordings: tuple[str, ...] = WORDINGS[:1],
) -> Path:
    """Pairs of inputs, clean and corrupted, with the output that each of them has."""
    lines = ["clean,corrupted,target,foil,input,corrupted_input"]
    lines += [
        f"{text.format(f'in{a}')},{text.format(f'in{b}')},out{outputs[a]},out{outputs[b]},in{a},in{b}"
        for text in wordings
        for a, b in pairs
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, <bos> in front."""
    vocabulary = {word: i for i, word in enumerate(["<bos>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<bos>", unk_token="<unk>")
