"""Who is let in, where the explorer listens, and what the command line offers."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lensdepth import DepthModel
from lensdepth.cli import main
from lensdepth.cli.explore_offers import make_offers
from lensdepth.explorer import Offers, create_app, server
from lensdepth.explorer.jobs import MOST_WAITING, Jobs
from lensdepth.explorer.notes import VIEWS
from lensdepth.explorer.server import COOKIE, GOODBYE, free_port, guard, is_loopback
from lensdepth.explorer.shelf import Shelf

OFFERS = Offers(models={"tiny": {"name_or_path": "tiny"}}, tasks={"ioi": {"name_or_path": "ioi"}})


def client(
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    shelf: Shelf | None = None,
    jobs: Jobs | None = None,
) -> Any:
    """A browser in front of the whole app, without any network."""
    kept = shelf or Shelf(OFFERS, lambda name_or_path: pytest.fail("no page loads a model"))
    app = create_app(OFFERS, shelf=kept, jobs=jobs)
    kept.close()
    guard(app.server, host=host, token=token)
    assert isinstance(app.server, Flask)
    return app.server.test_client()


def test_on_loopback_the_page_must_name_this_computer() -> None:
    browser = client()
    for host in ("127.0.0.1:8050", "localhost:8050", "[::1]:8050"):
        assert browser.get("/", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8050"):
        refused = browser.get("/", headers={"Host": host})
        assert refused.status_code == 403
        assert b"own computer" in refused.data


NO_ADDRESS = (
    "http://[",
    "http://[::1",
    "[",
    "::::",
    "http://[v1.x]",
    "",
    "\t",
    "http://\xe9",
    "a" * 9999,
)


@pytest.mark.parametrize("token", [None, "s3cret"])
def test_headers_that_make_no_sense_are_refused(token: str | None) -> None:
    app = client(host="127.0.0.1" if token is None else "0.0.0.0", token=token).application
    browser = app.test_client(use_cookies=False)
    rules = app.url_map.iter_rules()
    paths = {re.sub("<[^>]*>", "x", rule.rule) for rule in rules} | {"//x?token=s3cret", "/%0d%0a"}
    assert len(paths) > 8
    for path in paths:
        for wrong in NO_ADDRESS:
            for name in ("Origin", "Host", "Cookie"):
                headers = {"Host": "127.0.0.1:8050", name: wrong}
                for ask in (browser.get, browser.post):
                    answer = ask(path, headers=headers)
                    assert answer.status_code < 500, (path, name, wrong)
                    if name == "Origin" or (name == "Host" and token is None):
                        assert answer.status_code in (400, 403), (path, name, wrong)
                    if token is not None and "s3cret" not in path:
                        assert answer.status_code in (400, 403)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"7", b"{}", b'{"output": 7}', b'{"output": "x"}', b"\xff", b"[" * 50_000,
     b'{"output": "zone.data"}', b'{"output": "zone.data", "inputs": 7, "state": 7}',
     b'{"output": "zone.data", "inputs": [{}], "state": [{}]}', b"9" * 10_000],
)  # fmt: skip
def test_what_is_no_request_of_the_page_is_refused(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client().post("/_dash-update-component", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert caplog.text == ""


def test_a_page_says_goodbye_by_its_ticket() -> None:
    jobs, asked = Jobs(), []
    jobs.leave = asked.append  # type: ignore[method-assign]
    browser = client(jobs=jobs)
    assert browser.post(GOODBYE, data="a-ticket").status_code == 204
    assert browser.post(GOODBYE, data=b"\xff" * 1000).status_code == 204
    assert browser.post(GOODBYE, headers={"Origin": "http://evil.example"}).status_code == 403
    assert asked[0] == "a-ticket"
    assert len(asked) == 2
    script = (Path(server.__file__).parent / "assets" / "explorer.js").read_text()
    assert f'sendBeacon("{GOODBYE}"' in script


@pytest.fixture(scope="module")
def visitor(trained: DepthModel) -> Iterator[Any]:
    """A browser in front of an explorer that has a model."""
    jobs = Jobs()
    yield client(shelf=Shelf(OFFERS, lambda name_or_path: trained), jobs=jobs)
    jobs.close()


MADE_UP = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from([
        "\ud800", "\x1b[31m", "x" * 30_000, "9" * 5_000, "?view=poke", "?view=read&lens=tuned",
        "?view=circuit&components=L0H0,L99H9", "?depth=-5&position=99999", "?prompt=%00",
    ]),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(
        st.sampled_from([
            "query", "view", "ticket", "entries", "at", "kind", "row", "column", "asked", "name",
            "content", "from", "to",
        ]),
        st.none() | st.integers()
        | st.sampled_from([
            "?view=poke", "cell", "head", "map", "move", "a.csv", "cHJvbXB0Cg==", "\ud800",
        ])
        | st.lists(st.fixed_dictionaries({"query": st.text(max_size=3) | st.integers()})),
    ),
)  # fmt: skip
"""What a page never sends."""


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(data=st.data())
def test_whatever_a_page_sends_is_answered_in_words(
    data: st.DataObject, visitor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dependencies = visitor.get("/_dash-dependencies").json
    found = data.draw(st.sampled_from([d for d in dependencies if not d["clientside_function"]]))

    def item(part: dict[str, Any]) -> Any:
        if not part["id"].startswith("{"):
            return {**part, "value": data.draw(MADE_UP)}
        name = {"kind": "csv", "name": "map", "type": "table"}
        return [{"id": name, "property": part["property"], "value": data.draw(MADE_UP)}]

    inputs, state = ([item(i) for i in found[kind]] for kind in ("inputs", "state"))
    parts = [i[0] if isinstance(i, list) else i for i in inputs]
    changed = data.draw(st.lists(st.sampled_from(parts), min_size=1, max_size=2))
    answer = visitor.post("/_dash-update-component", json={
        "output": found["output"], "outputs": outputs_of(found["output"]),
        "inputs": inputs, "state": state,
        "changedPropIds": [f"{written(part['id'])}.{part['property']}" for part in changed],
    })  # fmt: skip
    assert answer.status_code in (200, 204), answer.text[:300]
    assert "should not happen" not in answer.text
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def asked(browser: Any, found: dict[str, Any], values: dict[str, Any], changed: str) -> Any:
    """What the explorer answers when a page sends some values."""
    inputs, state = (
        [{**part, "value": values.get(part["id"])} for part in found[kind]]
        for kind in ("inputs", "state")
    )
    return browser.post("/_dash-update-component", json={
        "output": found["output"], "outputs": outputs_of(found["output"]), "inputs": inputs,
        "state": state, "changedPropIds": [changed],
    })  # fmt: skip


def test_an_act_whose_answer_the_page_dropped_is_done_with_the_next_one(
    trained: DepthModel,
) -> None:
    browser = client(shelf=Shelf(OFFERS, lambda name_or_path: trained))
    (sync,) = [d for d in browser.get("/_dash-dependencies").json if d["inputs"][0]["id"] == "url"]

    def answered(values: dict[str, Any], changed: str) -> dict[str, Any]:
        return asked(browser, sync, values, changed).json["response"]

    page = answered({"url": "?view=sweep&run=1"}, "url.search")
    there = {name: part["value"] for name, part in page.items() if "value" in part}
    there |= {"url": page["screen"]["data"]["query"], "screen": page["screen"]["data"]}
    there |= {"seen": page["seen"]["data"], "example": None}
    assert "run=1" in there["url"]
    cancelled = answered(there | {"cancel": 1}, "cancel.n_clicks")
    assert "run=1" not in cancelled["screen"]["data"]["query"]
    # Dash drops that answer when the next click comes before it.
    moved = answered(there | {"cancel": 1, "view": "read"}, "view.value")
    assert moved["screen"]["data"]["view"] == "read"
    assert "run=1" not in moved["screen"]["data"]["query"]
    # Taken, it is not done again; and of Run and Cancel the later one counts.
    there |= {"seen": cancelled["seen"]["data"], "cancel": 1}
    again = answered(there | {"run": 1}, "run.n_clicks")
    assert "run=1" in again["screen"]["data"]["query"]
    both = answered(there | {"run": 1, "cancel": 2}, "run.n_clicks")
    assert "run=1" in both["screen"]["data"]["query"]


WALK = (
    ("view", "poke"), ("depth", 2), ("edit", "scale"), ("strength", 0.5), ("stream", "z"),
    ("head", 1), ("prompt", "The capital of France is Paris and so"), ("position", 3),
    ("against", "prompt"), ("view", "keep"), ("task", "ioi"), ("edit", "direction"),
    ("stream", "resid_pre"), ("view", "compare"),
)  # fmt: skip
"""Controls as one may set them, one after the other."""


def test_a_page_that_is_sent_what_is_new_shows_what_one_opened_at_its_address_shows(
    trained: DepthModel,
) -> None:
    browser = client(shelf=Shelf(OFFERS, lambda name_or_path: trained))
    (sync,) = [d for d in browser.get("/_dash-dependencies").json if d["inputs"][0]["id"] == "url"]
    read = {part["id"]: part["property"] for part in (*sync["inputs"], *sync["state"])}

    def answered(page: dict[str, Any], **given: Any) -> tuple[dict[str, Any], int]:
        """The page with an answer put in, and how many properties were sent."""
        now = {name: page.get(name, {}).get(prop) for name, prop in read.items()} | given
        changed = [f"{name}.{read[name]}" for name in given]
        answer = asked(browser, sync, now, *changed).json["response"]
        shown = {name: dict(parts) for name, parts in page.items()}
        for name, value in given.items():
            shown.setdefault(name, {})[read[name]] = value
        for name, parts in answer.items():
            shown.setdefault(name, {}).update(parts)
        return shown, sum(map(len, answer.values()))

    def shown_of(page: dict[str, Any]) -> Any:
        """Without what tells apart how one came there, and what is not set."""
        ways = {"url", "banner", "seen", *(f"ask-{view}" for view in VIEWS)}
        return {
            (name, prop): value
            for name, parts in page.items()
            if name not in ways
            for prop, value in parts.items()
            if value is not None
        }

    page, everything = answered({}, url="")
    for name, value in WALK:
        page, sent = answered(page, **{name: value})
        address = page["url"]["search"]
        assert shown_of(page) == shown_of(answered({}, url=address)[0]), (name, value)
        assert sent < everything / 2, (name, value)


def test_sweeps_that_pages_ask_for_and_cancel_leave_nothing(trained: DepthModel) -> None:
    jobs, shelf = Jobs(), Shelf(OFFERS, lambda name_or_path: trained)
    browser = client(shelf=shelf, jobs=jobs)
    dependencies = browser.get("/_dash-dependencies").json

    def callback(name: str) -> dict[str, Any]:
        (found,) = [d for d in dependencies if d["inputs"][0]["id"] == name and
                    not d["clientside_function"]]  # fmt: skip
        return found

    sweep, cancel, poll = callback("ask-sweep"), callback("cancel"), callback("poll")
    held: list[dict[str, Any]] = []
    with shelf.turn("tiny").first():  # nothing gets on before all have asked
        for i in range(60):
            query = (
                f"?model=tiny&task=ioi&view=sweep&on=pair&depth=1&run=1&prompt=Mary+{i}&source=x"
            )
            values = {"ask-sweep": query, "tab": f"tab {i % 30}"}
            response = asked(browser, sweep, values, "ask-sweep.data").json["response"]
            held.append(response["job"]["data"])
        told = [
            asked(browser, poll, {"poll": 1, "job": job}, "poll.data").json["response"]
            for job in held
        ]
        said = [one.get("done", {}).get("data", {}).get("message", "") for one in told]
        # Each tab asked twice: its first question has made way for its second.
        assert all("took its place" in text or "are waiting; cancel" in text for text in said[:30])
        assert any("are waiting; cancel" in text for text in said)
        assert 0 < len(jobs._line) <= MOST_WAITING
        for job in held:
            assert asked(browser, cancel, {"job": job}, "cancel.n_clicks").status_code < 300
        assert (jobs._line, jobs._work, jobs._tickets) == ({}, {}, {})
        for thread in list(jobs._threads):
            thread.join(20)
    assert not jobs._threads
    jobs.close()


def written(name: Any) -> str:
    return name if isinstance(name, str) else json.dumps(name, separators=(",", ":"))


def outputs_of(spec: str) -> Any:
    """The outputs of a callback as the page names them."""
    names = [part.rpartition(".") for part in spec.strip(".").split("...")]
    parts = [
        {"id": json.loads(n) if n.startswith("{") else n, "property": prop} for n, _, prop in names
    ]
    return parts if spec.startswith("..") else parts[0]


def test_other_pages_cannot_ask() -> None:
    browser = client()
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        headers = {"Host": "127.0.0.1:8050", "Origin": origin}
        assert browser.post("/_dash-update-component", json={}, headers=headers).status_code == 403
    headers = {"Host": "127.0.0.1:8050", "Origin": "http://127.0.0.1:8050"}
    assert browser.get("/_dash-layout", headers=headers).status_code == 200


def test_beyond_loopback_a_token_is_needed_once() -> None:
    browser = client(host="0.0.0.0", token="s3cret")
    headers = {"Host": "lab.example:8050"}
    for path in ("/", "/_dash-layout", "/?token=wrong", "/?token=", "/assets/explorer.js"):
        assert browser.get(path, headers=headers).status_code == 403
    first = browser.get("/?token=s3cret&view=poke", headers=headers)
    assert first.status_code == 302
    assert first.headers["Location"] == "/?view=poke"
    cookie = first.headers["Set-Cookie"]
    assert COOKIE in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert browser.get("/", headers=headers).status_code == 200
    assert "s3cret" not in browser.get("/_dash-layout", headers=headers).text
    away = client(host="0.0.0.0", token="s3cret").get("//evil.example?token=s3cret")
    assert not away.headers.get("Location", "/").startswith("//")


def test_nothing_comes_from_elsewhere_and_no_file_from_here() -> None:
    browser = client()
    page = browser.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    for line in page.text.splitlines():
        assert 'src="http' not in line
        assert 'href="http' not in line
    for path in ("/assets/../state.py", "/assets/%2e%2e/state.py", "/assets//etc/passwd"):
        answer = browser.get(path)
        assert answer.status_code != 200 or "lensdepth explorer" in answer.text
    large = {"inputs": "x" * 3_000_000}
    assert browser.post("/_dash-update-component", json=large).status_code == 413


@pytest.mark.parametrize("view", ["poke", "read", "sweep", "circuit", "write", "pairs", "compare"])
def test_a_made_up_request_gets_a_message_and_the_app_goes_on(view: str) -> None:
    browser = client()
    dependencies = browser.get("/_dash-dependencies").json
    for query in ("?view=<b>", "?model=/etc/passwd", 7, {"a": 1}, "?depth=1&depth=x"):
        for found in dependencies:
            if not any(item["id"] == f"ask-{view}" for item in found["inputs"]):
                continue
            values = {f"ask-{view}": query}
            body = {
                "output": found["output"],
                "outputs": outputs_of(found["output"]),
                "inputs": [{**i, "value": values.get(i["id"])} for i in found["inputs"]],
                "state": [{**i, "value": None} for i in found["state"]],
                "changedPropIds": [f"ask-{view}.data"],
            }
            answer = browser.post("/_dash-update-component", json=body)
            assert answer.status_code in (200, 204), answer.text[:300]
            assert "Traceback" not in answer.text
            assert "notice error" in answer.text
    assert browser.get("/_dash-layout").status_code == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.0.1", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.7", False), ("lab.example", False),
    ],
)  # fmt: skip
def test_which_addresses_are_this_computers_own(host: str, own: bool) -> None:
    assert is_loopback(host) == own


def test_a_port_that_is_taken_is_said_or_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"--port {port} on 127.0.0.1: .* Leave --port out"):
            free_port("127.0.0.1", port)
    found = free_port("127.0.0.1", None)
    assert found >= 8050
    with socket.socket() as taken:
        # As the explorer binds: connections that ended a moment ago do not hold a port.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", found))
        taken.listen()
        assert free_port("127.0.0.1", None) > found


def offers(models: list[str] | None = None, **more: Any) -> Offers:
    options: dict[str, Any] = {
        "task": None, "prompts": [], "backend": "auto", "device": None, "dtype": "float32",
        "trust_remote_code": False,
    }  # fmt: skip
    return make_offers(models or [], **(options | more))


def test_what_is_offered_begins_with_what_was_named(tmp_path: Path) -> None:
    assert offers().model == "calendar"
    assert offers().task == "months"
    assert {"calendar", "tiny"} <= set(offers().models)
    folder = tmp_path / "mine"
    folder.mkdir()
    file = tmp_path / "pairs.csv"
    file.write_text("clean,corrupted,target,foil\na b,a c,d,e\n")
    made = offers([str(folder)], prompts=[str(file)], dtype="bfloat16")
    # A page sees names; paths stay on the server.
    assert made.model == "mine"
    assert made.models["mine"] == {"name_or_path": str(folder), "dtype": "bfloat16"}
    assert made.task == "pairs.csv"
    assert made.tasks["pairs.csv"]["name_or_path"] == file
    assert offers(task="ioi").task == "ioi"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "moths"], "there is no task 'moths'. Did you mean months"),
        (["--prompts", "nowhere.csv"], "nowhere.csv"),
        (["--backend", "best"], "'best' is not one of 'auto', 'hooked', 'bridge'"),
        (["--dtype", "int8"], "'int8' is not one of 'float32'"),
        (["--port", "99999"], "less than or equal to 65535"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is let through by mistake must not wait for visitors for ever.
    monkeypatch.setattr(
        "lensdepth.explorer.server.make_server", lambda *_, **__: pytest.fail("it served")
    )
    assert main(["explore", "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
