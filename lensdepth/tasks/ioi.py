"""Indirect object identification.

"When Mary and John went to the store, John gave a drink to" -> Mary.

Source: Wang et al. 2022, "Interpretability in the Wild", arXiv 2211.00593.
"""

NAMES = (
    "Mary", "John", "Anna", "Peter", "Tom", "Lucy", "James", "Sarah", "David", "Emma",
    "Paul", "Kate", "Mark", "Alice", "Robert", "Laura", "Simon", "Julia", "Daniel", "Helen",
    "George", "Nina", "Victor", "Rose", "Adam", "Clara", "Henry", "Diana", "Oscar", "Ruth",
)  # fmt: skip
PLACES = (
    "store", "park", "school", "office", "station", "beach", "market", "garden", "library",
    "museum",
)  # fmt: skip
OBJECTS = ("drink", "book", "ring", "flower", "letter", "ball", "key", "ticket", "cake", "hat")

TEMPLATES = (
    "When {a} and {b} went to the {place}, {subject} gave a {object} to",
    "After {a} and {b} went to the {place}, {subject} gave a {object} to",
    "{a} and {b} were at the {place} and {subject} handed a {object} to",
    "Then {a} and {b} had a {object} at the {place}, and {subject} gave it to",
)


def fill(template: str, *, a: str, b: str, subject: str, place: str, object: str) -> str:
    """Write the prompt; the answer is whichever of `a` and `b` is not `subject`."""
    return template.format(a=a, b=b, subject=subject, place=place, object=object)
