"""Prompts as a chat model was trained to read them: in its own template, up to where it answers.

    >>> load_task("capitals", model, chat=True, system="Answer with one word.")
    >>> logit_lens(model, as_chat("The capital of France is", model))

The template is the model's own (`tokenizer.chat_template`). What comes out is plain text, which
results keep as their prompts: what the user says stands in it as it was given, and its last token
is the one behind which the assistant's first token comes.
"""

from typing import Any

from typing_extensions import Protocol, runtime_checkable

from lensdepth.arguments import checked
from lensdepth.outside import outside, shown
from lensdepth.tokens import has_double_bos


@runtime_checkable
class ChatModel(Protocol):
    """What of a `DepthModel` a template needs."""

    tokenizer: Any
    info: Any


@checked
def as_chat(prompt: str, model: ChatModel, *, system: str | None = None) -> str:
    """A prompt as what a user says to a chat model, in its own template.

    Args:
        prompt: what the user says.
        model: any wrapped model with a chat template.
        system: what the model is told beforehand; None leaves it to the template.
    Returns:
        The text, ending where the assistant's answer begins. A BOS token that the tokenizer puts
        in front by itself is left out.
    Raises:
        ValueError: one line: the model has no template, the template takes no system prompt, or
            it changes what the user says.
    """
    tokenizer, name = model.tokenizer, shown(model.info.name)
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            f"as_chat: chat=True needs a model with a chat template, and {name} has none; a base "
            f"model goes on with a text, so leave chat out."
        )
    said = [] if system is None else [{"role": "system", "content": system}]
    with outside(
        f"as_chat: the chat template of {name} cannot be applied",
        hint="It may take no system prompt: put it into the prompt." if system else "",
    ):
        text = tokenizer.apply_chat_template(
            [*said, {"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
        )
    for part, what in ((system, "the system prompt"), (prompt, "the prompt")):
        if part is not None and part.strip() not in text:
            raise ValueError(
                f"as_chat: the chat template of {name} leaves out or changes {what} "
                f"{shown(part, 60)}; what is measured must be what was given."
            )
    with outside(f"as_chat: {shown(prompt)} cannot be tokenized"):
        twice = has_double_bos(tokenizer, text, tokenizer(text)["input_ids"])
    return text.removeprefix(str(tokenizer.bos_token)) if twice else text
