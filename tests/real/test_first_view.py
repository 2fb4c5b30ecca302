"""What a visitor of the explorer sees first: SmolLM2 reads a pair of a task, without a browser."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from test_explorer_server import asked

from lensdepth.explorer.callbacks_screen import LINE_END
from lensdepth.explorer.jobs import Jobs
from lensdepth.explorer.server import create_app, guard
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Offers
from lensdepth.model import DepthModel
from real.plain import Plain

OFFERS = Offers(
    models={"smollm2": {"name_or_path": "smollm2"}},
    tasks={"opposites": {"name_or_path": "opposites"}},
)


@pytest.fixture
def browser(real: DepthModel) -> Iterator[Any]:
    jobs, shelf = Jobs(), Shelf(OFFERS, lambda name_or_path: real)
    app = create_app(OFFERS, shelf=shelf, jobs=jobs)
    guard(app.server, host="127.0.0.1", token=None)
    yield app.server.test_client()
    shelf.close()
    jobs.close()


def test_the_first_view_is_the_lens_on_a_pair_of_the_task(browser: Any, plain: Plain) -> None:
    assert browser.get("/").status_code == 200
    callbacks = browser.get("/_dash-dependencies").json
    (sync,) = [d for d in callbacks if d["inputs"][0]["id"] == "url"]
    page = asked(browser, sync, {"url": ""}, "url.search").json["response"]
    assert page["banner"]["children"] == []
    assert not page["view-read"]["hidden"]
    # A field of one line has a sign for the end of a line.
    prompt = page["prompt"]["value"].replace(LINE_END, "\n")
    assert prompt.endswith(" ->")
    assert page["prompt"]["value"] != page["source"]["value"]
    (read,) = [d for d in callbacks if d["inputs"][0]["id"] == "ask-read"]
    answer = asked(browser, read, {"ask-read": page["ask-read"]["data"]}, "ask-read.data")
    cards = {
        (name["name"], name["type"]): part
        for key, part in answer.json["response"].items()
        if key.startswith("{") and (name := json.loads(key))
    }
    assert cards["map", "message"]["children"] == []
    # The bars of the next token.
    (bars,) = cards["next", "figure"]["data"]["figure"]["data"]
    said = plain.log_probs(prompt).exp().sort(descending=True)
    assert bars["x"] == pytest.approx(said.values[:5].tolist(), abs=1e-4)
    first = plain.tokenizer.decode(int(said.indices[0])).replace(" ", "·")
    assert bars["customdata"][0] == f"{first}: {said.values[0]:.2f}"
    # The first numbers of the map: whole rows of tokens, from the embedding on.
    told = cards["map", "rows"]["data"]
    rows = [dict(zip(told["head"], row, strict=True)) for row in told["rows"]]
    n, last = len(plain.ids(prompt)), plain.n_layers
    assert [(row["depth"], row["position"]) for row in rows[: 2 * n]] == [
        (str(depth), str(position)) for depth in (0, 1) for position in range(n)
    ]
    for row in (rows[1], rows[n - 1], rows[n], rows[2 * n - 1]):
        lens = plain.lens(prompt, [int(row["depth"]), last], int(row["position"]))
        kl = (lens[1].exp() * (lens[1] - lens[0])).sum()
        assert float(row["kl"]) == pytest.approx(float(kl), rel=0.01)
        assert row["top1"] == plain.tokenizer.decode(int(lens[0].argmax())).replace(" ", "·")
