"""From text to token positions and answer tokens, whatever the tokenizer.

Positions come from the tokenizer's own character offsets, or, where it has none or they do not
cover the character, from decoding ever longer prefixes. Answers come from tokenizing the prompt
with the answer behind it, as it is written.
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from lensdepth.outside import cut, outside, shown
from lensdepth.tasks.joining import Joined, Joining, follow, in_number, is_open
from lensdepth.tokens import token_text

log = logging.getLogger(__name__)

Span = tuple[int, int]
"""Start and end (exclusive) of a piece of text, in characters."""

WORD = re.compile(r"\w+|[^\w\s]")
LONGEST_ANSWER = 60
"""Most characters of an answer's tokens in a message, which names several of them."""


# Where in the text


def varying_span(prompt: str, other: str) -> Span | None:
    """The one run of words in which `prompt` differs from `other`, or None if there is not one."""
    changes = _changed_words(prompt, other)
    return changes[0] if len(changes) == 1 and changes[0][0] < changes[0][1] else None


def find_input(prompt: str, part: str, other: str | None) -> Span:
    """Where the varying part stands in a prompt.

    Whole words win over pieces of words. Of several occurrences the one at a place where the two
    prompts of the pair differ is meant, and that which is all of such a place before others.

    Raises:
        ValueError: it is not in the prompt, or there are several and which is meant is not clear.
    """
    part = part.strip()
    found = [m.span() for m in re.finditer(f"(?={re.escape(part)})", prompt)]
    spans = [(start, start + len(part)) for start, _ in found]
    if not spans:
        raise ValueError(f"{shown(part)} does not occur in {shown(prompt)}")
    spans = [span for span in spans if _is_whole(prompt, span)] or spans
    if len(spans) > 1 and other is not None:
        changed = _changed_words(prompt, other)
        spans = (
            [s for s in spans if s in changed]
            or [s for s in spans if any(s[0] < end and start < s[1] for start, end in changed)]
            or spans
        )
    if len(spans) > 1:
        raise ValueError(
            f"{shown(part)} occurs {len(spans)} times in {shown(prompt)} and which one varies is "
            f"not clear; name a longer part of the prompt, one that occurs once"
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
    more = f" and {len(texts) - 1} other texts" if len(texts) > 1 else ""
    with outside(f"the tokenizer cannot read {shown(texts[0], LONGEST_ANSWER)}{more}"):
        encoded = tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
        return [list(map(int, ids)) for ids in encoded]


def decoded(tokenizer: Any, ids: Sequence[int], *, skip_special: bool = False) -> str:
    """The text of some tokens."""
    with outside(f"the tokenizer cannot say what the tokens {shown(str(list(ids)))} are"):
        return tokenizer.decode(list(ids), skip_special_tokens=skip_special)


def token_at(tokenizer: Any, prompt: str, ids: Sequence[int], span: Span) -> int:
    """Position of the token that holds the last character of a span (its last token).

    Raises:
        ValueError: no token can be told to hold it.
    """
    last = span[1] - 1
    options = {"return_offsets_mapping": True} if getattr(tokenizer, "is_fast", False) else {}
    with outside(f"the tokenizer cannot read {shown(prompt)}"):
        encoded = tokenizer(prompt, add_special_tokens=False, verbose=False, **options)
        plain = list(encoded["input_ids"])
    # Special tokens that the tokenizer put in front hold nothing of the prompt.
    starts = range(len(ids) - len(plain) + 1)
    first = next((k for k in starts if list(ids[k : k + len(plain)]) == plain), None)
    if options and first is not None:
        # Where the bytes of one character are several tokens, all of them have its offsets, and
        # the last one completes it.
        held = [
            i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start <= last < end
        ]
        if held:
            return first + held[-1]
    wanted = squeeze(prompt[: span[1]])
    for i in range(first or 0, len(ids)):
        # Such tokens may stand in the prompt itself.
        text = decoded(tokenizer, ids[first or 0 : i + 1], skip_special=first is None)
        if squeeze(text).startswith(wanted):
            return i
    raise ValueError(
        f"no token of {shown(prompt)} can be told to hold {shown(prompt[slice(*span)])}"
    )


def squeeze(text: str) -> str:
    """Text as tokenizers tend to change it: no spaces, no case, composed characters."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


# Answers

REMEDY = "write the space, or give token ids"
"""How answers in a call are told for sure."""
MOST_TRIED = 1000
"""So many open answers tell how all of them follow."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """How the answers of one file follow their prompts where neither tells."""

    joining: Joined
    said: str
    """What was assumed, in words; empty where nothing was."""


def answer_tokens(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], joining: Joining = "auto"
) -> list[int | str]:
    """The token each answer is when it follows its prompt, or why it is not one token.

    Prompt and answer are tokenized as one text: that must leave the prompt's own tokens as they are
    and add exactly one, which decodes to the answer.

    Args:
        tokenizer: of the model.
        prompts: one for each answer.
        answers: as written, a space in front included.
        joining: how open answers follow; "auto" is what `guess_joining` says.
    """
    if joining == "auto":
        joining = guess_joining(tokenizer, prompts, answers).joining
    texts = [follow(*pair, joining) for pair in zip(prompts, answers, strict=True)]
    return _continue(tokenizer, prompts, texts, token_ids(tokenizer, prompts, special=False))


def guess_joining(tokenizer: Any, prompts: Sequence[str], answers: Sequence[str]) -> Guess:
    """One joining for all open answers, and what is assumed with it.

    Where some answer begins with a space, the others are meant to have none. Else all have one,
    unless under half as many are one token behind it as without: a tokenizer may keep digits apart
    from spaces. Where its tokens hold no spaces at all, nothing can be mistaken.
    """
    pairs = list(zip(prompts, answers, strict=True))
    unsaid = [pair for pair in pairs if is_open(*pair)]
    literal, spaced = _both_ways(tokenizer, unsaid)
    tokens = [token for token in spaced if isinstance(token, int)]
    if tokens and not any(token_text(tokenizer, token)[:1].isspace() for token in tokens):
        return Guess(joining="space", said="")
    speaks = any(answer.startswith(" ") for answer in answers)
    n_literal = sum(isinstance(token, int) for token in literal)
    said = []
    if speaks or n_literal > 2 * len(tokens):
        joining: Joined = "literal"
        example, how = _example(unsaid, "", literal, spaced), "without one"
    else:
        joining = "space"
        example, how = _example(unsaid, " ", spaced, literal), "one"
    if example:
        said.append(
            f"{'some answers begin' if speaks else 'no answer begins'} with a space, and "
            f"{len(unsaid)} of {len(pairs)} are read as following {how} ({example})"
        )
    if not speaks:
        numbers = [pair for pair in pairs if in_number(*pair)]
        if example := _example(numbers, "", *_both_ways(tokenizer, numbers)):
            said.append(f"{len(numbers)} of {len(pairs)} continue a number ({example})")
    return Guess(joining=joining, said="; ".join(said))


def settle_joining(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], *, caller: str, remedy: str
) -> Joined:
    """The joining that `guess_joining` finds; what is assumed with it is said."""
    guess = guess_joining(tokenizer, prompts, answers)
    if guess.said:
        log.warning("%s: %s. To decide, %s.", caller, guess.said, remedy)
    return guess.joining


def _both_ways(
    tokenizer: Any, pairs: Sequence[tuple[str, str]]
) -> tuple[list[int | str], list[int | str]]:
    """Answers as they are written, and behind a space; of very many, some from everywhere."""
    prompts = [prompt for prompt, _ in _some(pairs)]
    own = token_ids(tokenizer, prompts, special=False)
    literal, spaced = (
        _continue(tokenizer, prompts, [gap + answer for _, answer in _some(pairs)], own)
        for gap in ("", " ")
    )
    return literal, spaced


def _some(pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    return pairs[:: len(pairs) // MOST_TRIED + 1]


def _example(
    pairs: Sequence[tuple[str, str]],
    gap: str,
    taken: Sequence[int | str],
    other: Sequence[int | str],
) -> str:
    """The first answer that another reading would make another token, behind its prompt."""
    for (prompt, answer), a, b in zip(_some(pairs), taken, other, strict=True):
        if isinstance(a, int) and a != b:
            return f"{shown(gap + answer)} behind {shown(prompt[-12:])}"
    return ""


def _continue(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], own: Sequence[Sequence[int]]
) -> list[int | str]:
    """The one token by which each answer continues the tokens of its prompt, or why it is not."""
    joined = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    whole = token_ids(tokenizer, joined, special=False)
    found: list[int | str] = []
    for prompt, answer, before, after in zip(prompts, answers, own, whole, strict=True):
        added = after[len(before) :]
        if after[: len(before)] != list(before):
            found.append(
                "the prompt ends in a space that is a token of its own; remove that space"
                if prompt[-1].isspace()
                else "the prompt's own tokens change when it follows"
            )
        elif len(added) != 1:
            pieces = [decoded(tokenizer, [token]) for token in added]
            spelled = cut(" + ".join(map(repr, pieces)), LONGEST_ANSWER)
            found.append(spelled or "no token at all")
        elif squeeze(decoded(tokenizer, added)) == squeeze(answer):
            found.append(added[0])
        elif added[0] == tokenizer.unk_token_id:
            found.append(f"not in the vocabulary ({tokenizer.unk_token})")
        else:
            found.append(f"decodes to {shown(decoded(tokenizer, added), LONGEST_ANSWER)}")
    return found
