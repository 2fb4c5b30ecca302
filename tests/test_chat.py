"""Chat templates: what is measured is the whole text, positions are found in what the user said."""

import json
from pathlib import Path

import pytest

from lensdepth.chat import as_chat
from lensdepth.cli import main
from lensdepth.lens import logit_lens
from lensdepth.model import DepthModel
from lensdepth.provenance import Backend
from lensdepth.tasks import load_task
from lensdepth.tasks.chatting import offset

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} </end>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
PAIR = {
    "clean": "Two months from January is",
    "corrupted": "Two months from May is",
    "target": "March",
    "foil": "July",
}


@pytest.fixture
def chatty(load_tiny, backend: Backend) -> DepthModel:
    """A model of its own, whose tokenizer has a template; its words are tokens."""
    model = DepthModel(load_tiny("llama", backend).model, name="chatty")
    model.tokenizer = load_tiny("llama", backend).tokenizer.__class__(
        tokenizer_object=load_tiny("llama", backend).tokenizer.backend_tokenizer,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
    )
    model.tokenizer.chat_template = TEMPLATE
    return model


def test_the_template_is_put_round_the_prompt_and_bos_stands_once(chatty: DepthModel) -> None:
    text = as_chat("Two months from January is", chatty)
    assert text == "<user> Two months from January is </end>\n<assistant>\n"
    tokens = chatty.tokenize(text).row(0)
    assert tokens.count(chatty.tokenizer.bos_token_id) == 1
    both = [as_chat(month, chatty, system="Be brief.") for month in ("January", "May")]
    assert both == [
        f"<system> Be brief. </end>\n<user> {month} </end>\n<assistant>\n"
        for month in ("January", "May")
    ]


def test_a_task_in_chat_reads_where_the_assistant_answers(chatty: DepthModel) -> None:
    system = "January and May are months."
    task = load_task([PAIR], chatty, chat=True, system=system)
    assert task.clean == (as_chat(PAIR["clean"], chatty, system=system),)
    assert task.inputs == ("January",)
    words = chatty.str_tokens(task.clean[0])
    place = int(task.input_positions[0])  # type: ignore[index]
    assert words[place] == "January"
    assert words[place - 1] == "from"  # the user's, and not the system's
    assert words.index("January") < place
    assert int(task.clean_tokens.last[0]) == len(words) - 1  # the end of the template
    assert chatty.token_text(int(task.target_ids[0])) == "March"  # type: ignore[index]
    named = {**PAIR, "input": "January", "corrupted_input": "May", "target": " March"}
    again = load_task([named], chatty, chat=True, system=system)
    assert again.input_positions.tolist() == [place]  # type: ignore[union-attr]
    assert again.target_ids.tolist() == task.target_ids.tolist()  # type: ignore[union-attr]
    profile = logit_lens(chatty, task)
    assert profile.provenance.prompts == task.clean


def test_a_built_in_task_goes_in_as_well(chatty: DepthModel) -> None:
    plain = load_task("months", chatty, n=8)
    task = load_task("months", chatty, n=8, chat=True)
    assert task.clean == tuple(as_chat(text, chatty) for text in plain.clean)
    assert task.inputs == plain.inputs
    assert task.target_ids.tolist() == plain.target_ids.tolist()  # type: ignore[union-attr]
    rows = load_task([{"prompt": "January", "input": "January"}], chatty, chat=True)
    assert chatty.str_tokens(rows.clean[0])[int(rows.input_positions[0])] == "January"  # type: ignore[index]


def test_what_cannot_be_is_one_line(chatty: DepthModel, tiny_gpt2: DepthModel) -> None:
    with pytest.raises(ValueError, match="a chat template, and 'gpt2' has none"):
        load_task([PAIR], tiny_gpt2, chat=True)
    with pytest.raises(ValueError, match="system goes with chat=True"):
        load_task([PAIR], chatty, system="Be brief.")
    chatty.tokenizer.chat_template = "{{ raise_exception('no system here') }}"
    with pytest.raises(ValueError, match=r"cannot be applied: .*no system here.* into the prompt"):
        as_chat("January", chatty, system="Be brief.")
    chatty.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(ValueError, match="leaves out or changes the prompt 'January'"):
        as_chat("January", chatty)


def test_where_the_user_s_words_stand() -> None:
    assert offset("be kind. user: be kind. end", "be kind.") == 15
    assert offset("[hello]", "  hello ") == -1  # its two spaces are gone


def test_the_command_line_takes_it(
    tmp_path: Path, model_folder, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    folder = shutil.copytree(model_folder("llama"), tmp_path / "chatty")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    text = "<user> Two months from January is </end>\n<assistant>\n"
    assert main(["lens", PAIR["clean"], "--model", str(folder), "--chat", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["prompts"] == [text]
    run = ["lens", "--task", "months", "--n", "3", "--model", str(folder), "--chat", "--json"]
    assert main([*run, "--system", "Be brief."]) == 0
    prompts = json.loads(capsys.readouterr().out)["provenance"]["prompts"]
    assert all(p.startswith("<system> Be brief. </end>\n<user> ") for p in prompts)
    assert main(["lens", "January", "--model", "tiny", "--chat"]) == 2
    assert "--chat needs a model with a chat template" in capsys.readouterr().err
    assert main(["lens", "January", "--model", "tiny", "--system", "x"]) == 2
    assert "--system goes with --chat" in capsys.readouterr().err
