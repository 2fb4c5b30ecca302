"""What the labels of prompts mean, in words, for sentences and figures that name them.

The study calls the parts of a calendar sentence alpha, beta and gamma; a reader who has not read it
is told at once what they are. Columns of a user's own file go by their own names: what they mean is
the user's.
"""

CALENDAR = {"alpha": "the start", "beta": "the count", "gamma": "the answer"}
"""In "two months from January is" (March): January, two, March."""
CALENDAR_TASKS = (
    *("months", "weekdays", "nested-months", "nested-weekdays", "stories"),
    *("near-months", "near-weekdays", "roughly-months", "roughly-weekdays"),
)
READ_OFF = {
    "entropy": "entropy of the prediction",
    "target_log_prob": "log p(target)",
    "top_log_prob": "log p(most likely token)",
    "context_length": "number of tokens",
    "input_token": "input token",
}
"""What is known of every prompt without its file saying so."""


def label_name(label: str, task: str) -> str:
    """A label as readers know it: `beta (the count)`, `entropy of the prediction`.

    Args:
        label: a column of the task's labels, or what analyses add to them.
        task: its name.
    """
    if label in READ_OFF:
        return READ_OFF[label]
    plain = label.removeprefix("corrupted_")
    if task.removesuffix(" (few-shot)") not in CALENDAR_TASKS or plain not in CALENDAR:
        return label
    other = "" if plain == label else " of the other prompt"
    return f"{plain} ({CALENDAR[plain]}{other})"
