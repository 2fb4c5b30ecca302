"""How an answer is written behind its prompt: as it stands, or with a space in between.

What is measured is the token that follows when both are tokenized as one text. An answer that
begins with a space says so itself, and others stand as they are where no space belongs: behind an
opening bracket, between digits, in scripts without spaces. What is left is open ("... January is"
and "March"), and has one joining for the whole of a file.
"""

import re
from typing import Literal

Joined = Literal["literal", "space"]
"""Open answers follow as they are written, or behind one space."""
Joining = Literal["auto", "literal", "space"]

OPENING = frozenset("([{<$#@¥€£«‹“‘„‚¿¡")
"""Brackets, opening quotation marks, signs before a number: an answer follows without a space."""
INFIX = frozenset("/\\-_=~^+*–—")
"""After these an answer follows without a space if there is none before them either ("2+2=")."""
CLOSING = frozenset(".,;:!?)]}>%»›”’…")
"""An answer that starts with one of these follows without a space."""
CONTRACTED = re.compile(r"n?['’](s|t|re|ve|m|ll|d)\b", re.IGNORECASE)
"""An answer such as 's or n't."""
_NO_SPACES = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff"
_NO_SPACES += "\uff00-\uffef\U00020000-\U0003ffff"
"""Thai, Lao, Tibetan, Burmese, Khmer, kana, Chinese characters, and the marks between them."""
UNSPACED = re.compile(f"[{_NO_SPACES}]")
UNSPACED_END = re.compile(rf"[{_NO_SPACES}](?:\d|[^\w\s])*$")
"""One of them, with no more than digits and marks behind it."""
WIDE = re.compile("[\u3000-\u3020\uff01-\uff0f\uff1a-\uff20]")
"""Marks as wide as a character, which hold their own space."""


def is_open(prompt: str, answer: str) -> bool:
    """Whether nothing in prompt or answer tells if a space belongs between them."""
    return not (
        answer[:1].isspace()
        or prompt[-1:].isspace()
        or in_number(prompt, answer)
        or _opens(prompt)
        or _closes(prompt, answer)
        or _runs_on(prompt, answer)
    )


def in_number(prompt: str, answer: str) -> bool:
    """Whether an answer goes on a number: 13 and 53 are one unless a space parts them."""
    return prompt[-1:].isdigit() and answer[:1].isdigit()


def follow(prompt: str, answer: str, joining: Joined) -> str:
    """The answer as it stands behind its prompt, with the space that it needs."""
    return f" {answer}" if joining == "space" and is_open(prompt, answer) else answer


def _opens(prompt: str) -> bool:
    """Whether a prompt ends in a sign behind which no space belongs."""
    last, before = prompt[-1:], prompt[-2:-1]
    if last in INFIX:
        return not before.isspace()
    if last in ("'", '"', "`"):
        # Apostrophes stand in words too, so that only the others can be counted.
        odd = last != "'" and prompt.count(last) % 2 == 1
        return odd or not before.strip() or before in OPENING or before in INFIX or before == ":"
    if last == "“":  # which closes what „ opens
        return prompt.count("„") < prompt.count("“")
    return last in OPENING


def _closes(prompt: str, answer: str) -> bool:
    """Whether an answer begins with a sign in front of which no space belongs."""
    first = answer[:1]
    if first in ('"', "`") and prompt.count(first) % 2 == 1:
        return True
    return first in CLOSING or CONTRACTED.match(answer) is not None


def _runs_on(prompt: str, answer: str) -> bool:
    """Whether prompt and answer are of a script without spaces."""
    if WIDE.fullmatch(prompt[-1:]):
        return True
    if not UNSPACED_END.search(prompt):
        return False
    return not answer[:1].isalpha() or UNSPACED.match(answer) is not None
