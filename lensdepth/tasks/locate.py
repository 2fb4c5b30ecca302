"""From text to token positions and answer tokens, whatever the tokenizer.

Positions come from the tokenizer's own character offsets, or, where it has none or they do not
cover the character, from decoding ever longer prefixes. Answers come from tokenizing the prompt
with the answer behind it, as it would be written.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

Span = tuple[int, int]
"""Start and end (exclusive) of a piece of text, in characters."""

WORD = re.compile(r"\w+|[^\w\s]")
OPENING = frozenset("([{<$#@\u00ab\u2039\u201c\u2018\u201e\u00bf\u00a1\u20ac\u00a3")
"""Brackets, opening quotation marks, signs before a number: an answer follows without a space."""
INFIX = frozenset("/\\-_=~^+*\u2013\u2014")
"""After these an answer follows without a space if there is none before them either ("2+2=")."""
CLOSING = frozenset(".,;:!?)]}>%\u00bb\u203a\u201d\u2019\u2026")
"""An answer that starts with one of these follows without a space."""
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
"""Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""


# Where in the text


def varying_span(prompt: str, other: str) -> Span | None:
    """The one run of words in which `prompt` differs from `other`, or None if there is not one."""
    changes = _changed_words(prompt, other)
    return changes[0] if len(changes) == 1 and changes[0][0] < changes[0][1] else None


def find_input(prompt: str, part: str, other: str | None) -> Span:
    """Where the varying part stands in a prompt.

    Whole words win over pieces of words. Of several occurrences the one at a place where the two
    prompts of the pair differ is meant.

    Raises:
        ValueError: it is not in the prompt, or there are several and which is meant is not clear.
    """
    part = part.strip()
    found = [m.span() for m in re.finditer(f"(?={re.escape(part)})", prompt)]
    spans = [(start, start + len(part)) for start, _ in found]
    if not spans:
        raise ValueError(f"{part!r} does not occur in {prompt!r}")
    spans = [span for span in spans if _is_whole(prompt, span)] or spans
    if len(spans) > 1 and other is not None:
        changed = _changed_words(prompt, other)
        spans = [
            s for s in spans if any(s[0] < end and start < s[1] for start, end in changed)
        ] or spans
    if len(spans) > 1:
        raise ValueError(
            f"{part!r} occurs {len(spans)} times in {prompt!r} and which one varies is not clear; "
            f"name a longer part of the prompt, one that occurs once"
        )
    return spans[0]


def _is_whole(text: str, span: Span) -> bool:
    before, after = text[: span[0]][-1:], text[span[1] :][:1]
    inner = text[span[0] : span[1]]
    return not (_joins(before, inner[:1]) or _joins(inner[-1:], after))


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()


def _changed_words(prompt: str, other: str) -> list[Span]:
    """Character spans of the runs of words that `other` has not; empty spans are insertions."""
    mine = list(WORD.finditer(prompt))
    words, theirs = [m.group() for m in mine], WORD.findall(other)
    start = 0
    while start < min(len(words), len(theirs)) and words[start] == theirs[start]:
        start += 1
    end = 0
    while end < min(len(words), len(theirs)) - start and words[-1 - end] == theirs[-1 - end]:
        end += 1
    middle, their_middle = words[start : len(words) - end], theirs[start : len(theirs) - end]
    spans = []
    for kind, a, b, _, _ in SequenceMatcher(
        None, middle, their_middle, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            continue
        # Words that were only added to the other prompt leave an empty span behind.
        spans.append((mine[start + a].start(), mine[start + b - 1].end()) if b > a else (0, 0))
    return spans


# Where in the tokens


def token_ids(tokenizer: Any, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
    """Token ids of each text, with the tokenizer's own special tokens or without."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
    return [list(map(int, ids)) for ids in encoded]


def token_at(tokenizer: Any, prompt: str, ids: Sequence[int], span: Span) -> int:
    """Position of the token that holds the last character of a span (its last token).

    Raises:
        ValueError: no token can be told to hold it.
    """
    last = span[1] - 1
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(prompt, return_offsets_mapping=True, verbose=False)
        if list(encoded["input_ids"]) == list(ids):
            # Special tokens have the offsets (0, 0), so they hold no character; where the bytes of
            # one character are several tokens, all of them have it, and the last one completes it.
            held = [
                i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start <= last < end
            ]
            if held:
                return held[-1]
    wanted = _squeeze(prompt[: span[1]])
    for i in range(len(ids)):
        decoded = tokenizer.decode(list(ids[: i + 1]), skip_special_tokens=True)
        if _squeeze(decoded).startswith(wanted):
            return i
    raise ValueError(f"no token of {prompt!r} can be told to hold {prompt[slice(*span)]!r}")


def _squeeze(text: str) -> str:
    """Text as tokenizers tend to change it: no spaces, no case, composed characters."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


# Answers


def answer_tokens(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str]
) -> list[int | str]:
    """The token each answer is when it follows its prompt, or why it is not one token.

    The answer is joined to the prompt as it would be written: with a space, but without one after
    a space, an opening bracket and the like. Joined, it must leave the prompt's own tokens as they
    are and add exactly one, which decodes to the answer. Where that fails and the prompt does not
    end in a letter or digit ("2+2 ="), the other way to join is tried.
    """
    words = [answer.strip() for answer in answers]
    own = token_ids(tokenizer, prompts, special=False)
    glued = [_is_glued(prompt, word) for prompt, word in zip(prompts, words, strict=True)]
    found = _continue(tokenizer, prompts, words, own, glued)
    again = [
        i
        for i, token in enumerate(found)
        if isinstance(token, str)
        and not _joins(prompts[i][-1], words[i][:1])
        and not prompts[i][-1].isspace()
    ]
    others = _continue(
        tokenizer,
        [prompts[i] for i in again],
        [words[i] for i in again],
        [own[i] for i in again],
        [not glued[i] for i in again],
    )
    for i, other in zip(again, others, strict=True):
        if isinstance(other, int):
            found[i] = other
    return found


def _is_glued(prompt: str, word: str) -> bool:
    last, first = prompt[-1], word[:1]
    if last in "\"'":  # a quotation mark opens after a space, and closes after anything else
        return prompt[-2:-1].strip() == "" or prompt[-2] in OPENING
    if last in INFIX:
        return not prompt[-2:-1].isspace()
    unspaced = bool(UNSPACED.match(last) and UNSPACED.match(first))
    return last.isspace() or last in OPENING or first in CLOSING or unspaced


def _continue(
    tokenizer: Any,
    prompts: Sequence[str],
    words: Sequence[str],
    own: Sequence[Sequence[int]],
    glued: Sequence[bool],
) -> list[int | str]:
    joined = [
        prompt + ("" if close else " ") + word
        for prompt, word, close in zip(prompts, words, glued, strict=True)
    ]
    whole = token_ids(tokenizer, joined, special=False)
    found: list[int | str] = []
    for prompt, word, before, after in zip(prompts, words, own, whole, strict=True):
        added = after[len(before) :]
        if after[: len(before)] != list(before):
            found.append(
                "the prompt ends in a space that is a token of its own; remove that space"
                if prompt[-1].isspace()
                else "the prompt's own tokens change when it follows"
            )
        elif len(added) != 1:
            pieces = [tokenizer.decode([token]) for token in added]
            found.append(" + ".join(map(repr, pieces)) if pieces else "no token at all")
        elif added[0] == tokenizer.unk_token_id:
            found.append(f"not in the vocabulary ({tokenizer.unk_token})")
        elif _squeeze(tokenizer.decode(added)) != _squeeze(word):
            found.append(f"decodes to {tokenizer.decode(added)!r}")
        else:
            found.append(added[0])
    return found
