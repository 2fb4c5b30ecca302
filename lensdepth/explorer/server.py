"""The web server: on this computer alone unless told otherwise, and then behind a token."""

import hmac
import ipaddress
import json
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from dash import Dash, set_props
from dash.exceptions import DependencyException
from flask import Flask, Response, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

from lensdepth.explorer import (
    callbacks_files,
    callbacks_keep,
    callbacks_move,
    callbacks_screen,
    callbacks_views,
)
from lensdepth.explorer.cards import cards_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.filling import fill
from lensdepth.explorer.jobs import Jobs
from lensdepth.explorer.layout import page
from lensdepth.explorer.panels import message
from lensdepth.explorer.settle import settle
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Offers, Screen
from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.outside import reason

DEFAULT_PORT = 8050
NEXT_PORTS = 20
"""How many ports are tried after the first."""
LARGEST_REQUEST = 2 * 2**20
COOKIE = "lensdepth_token"
GOODBYE, LONGEST_TICKET = "/_goodbye", 40
"""Where a page that is closed says so, as explorer.js does."""
UNREADABLE = "This is no request of the explorer's page."
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing is fetched from anywhere but this server."""


INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
  <body>{%app_entry%}<div>{%config%}{%scripts%}{%renderer%}</div></body>
</html>"""
"""Dash's own page has a footer of its own, beside the explorer's."""


def create_app(offers: Offers, *, shelf: Shelf | None = None, jobs: Jobs | None = None) -> Dash:
    """The app on some models and tasks; its server is `app.server`."""
    kept = Shelf(offers) if shelf is None else shelf
    work = Jobs(describe=readable) if jobs is None else jobs
    app = Dash(
        "lensdepth.explorer",
        title="lensdepth explorer",
        update_title=None,  # type: ignore[arg-type] - the title is not to flicker
        serve_locally=True,
        add_log_handler=False,
        enable_mcp=False,
        suppress_callback_exceptions=False,
        on_error=say,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.index_string = INDEX
    app.layout = lambda: callbacks_screen.start(page(offers), offers)
    callbacks_screen.register(app, kept)
    callbacks_views.register(app, kept, work)
    callbacks_keep.register(app, kept)
    callbacks_move.register(app, kept)
    callbacks_files.register(app, kept)
    _listen(app, work)
    return app


def _listen(app: Dash, jobs: Jobs) -> None:
    """What the server does besides answering callbacks: goodbyes, and requests nobody meant."""
    server: Any = app.server

    @server.post(GOODBYE)
    def goodbye() -> Any:
        """A page is closed; what it says is its ticket."""
        jobs.leave(request.get_data(as_text=True)[:LONGEST_TICKET])
        return "", 204

    @server.before_request
    def check() -> Any:
        if request.path == "/_dash-update-component" and request.method == "POST":
            body = request.get_json(silent=True)
            if not _is_asked(body, app.callback_map):
                return Response(UNREADABLE, status=400, mimetype="text/plain")
        return None

    @server.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        if isinstance(error, HTTPException):
            return error
        if isinstance(error, DependencyException):
            return Response("There is no such file.", status=404, mimetype="text/plain")
        if isinstance(error, RecursionError):
            return Response(UNREADABLE, status=400, mimetype="text/plain")
        return Response(readable(error), status=500, mimetype="text/plain")


def _is_asked(body: object, callbacks: Mapping[str, Any]) -> bool:
    """Whether a request names a callback, and its inputs and outputs as the page does."""
    if not isinstance(body, dict) or not isinstance(body.get("output"), str):
        return False
    callback = callbacks.get(body["output"])
    changed = body.get("changedPropIds", [])
    if callback is None or not isinstance(changed, list):
        return False
    expected = [*callback["inputs"], *callback["state"]]
    given = [body.get("inputs", []), body.get("state", [])]
    if not all(isinstance(items, list) for items in given):
        return False
    items: list[Any] = [*given[0], *given[1]]
    if len(given[0]) != len(callback["inputs"]) or len(items) != len(expected):
        return False
    names: set[str] = set()
    for item, meant in zip(items, expected, strict=True):
        several = meant["id"].startswith("{")  # one of many parts of the page
        if several != isinstance(item, list):
            return False
        parts = item if several else [item]
        if not all(_names_a_part(part) for part in parts):
            return False
        if not several and (item["id"], item["property"]) != (meant["id"], meant["property"]):
            return False
        names |= {f"{_written(part['id'])}.{part['property']}" for part in parts}
    outputs = body.get("outputs")
    outputs = outputs if isinstance(outputs, list) else [outputs]
    n_outputs = len(body["output"].strip(".").split("..."))
    return all(isinstance(name, str) and name in names for name in changed) and (
        bool(callback.get("no_output"))
        or (len(outputs) == n_outputs and all(_names_a_part(output) for output in outputs))
    )


def _names_a_part(item: object) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("property"), str)
        and isinstance(item.get("id"), str | dict)
    )


def _written(name: str | dict[str, Any]) -> str:
    """The id of a part as the page writes it."""
    if isinstance(name, str):
        return name
    return json.dumps(name, sort_keys=True, separators=(",", ":"))


def say(error: Exception) -> None:
    """What a callback did not expect goes above the page, which stays as it is."""
    set_props("banner", {"children": message(readable(error))})


def is_loopback(host: str) -> bool:
    """Whether an address reaches this computer alone."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def guard(server: Flask, *, host: str, token: str | None) -> None:
    """Let in whom the address was meant for.

    On loopback, requests must name this computer: a page elsewhere whose name was pointed at it
    (DNS rebinding) does not. Beyond, a token is needed, from the link and then from a cookie.
    """
    server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    names = {"localhost", "127.0.0.1", "::1", host.strip("[]").lower()}

    def check() -> Any:
        if token is None and _parts(f"//{request.host}").hostname not in names:
            return _refusal("This explorer answers to its own computer only.")
        origin = request.headers.get("Origin")
        if origin is not None and _parts(origin).netloc != request.host:
            return _refusal("This explorer takes no requests from other pages.")
        if token is None:
            return None
        if hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), token.encode()):
            return None
        given = request.args.get("token", "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return _refusal("Open the link with the token that the explorer printed.")
        rest = [(k, v) for k, v in request.args.items(multi=True) if k != "token"]
        answer = redirect(_with_query(request.path, rest))
        answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
        return answer

    # Before all else: who is not let in is not read either.
    server.before_request_funcs.setdefault(None, []).insert(0, check)

    @server.after_request
    def armour(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer


def _parts(address: str) -> SplitResult:
    """An address by its parts; all of them empty where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _with_query(path: str, parts: list[tuple[str, str]]) -> str:
    # A path with two slashes in front would lead to another computer.
    own = "/" + path.lstrip("/\\")
    return f"{own}?{urlencode(parts)}" if parts else own


def _refusal(text: str) -> Response:
    return Response(text, status=403, mimetype="text/plain")


def free_port(host: str, port: int | None) -> int:
    """The port that was asked for, or the first free one from the usual one on.

    Raises:
        OSError: it is taken.
    """
    asked = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + NEXT_PORTS)
    why = ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in asked:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host.strip("[]"), candidate))
                return trial.getsockname()[1]
            except OverflowError as error:
                raise OSError(f"--port {candidate}: ports end at 65535.") from error
            except (OSError, UnicodeError) as error:
                why = reason(error)
    if port is not None:
        raise OSError(
            f"--port {port} on {host}: {why}. Leave --port out to take the next free one."
        )
    raise OSError(
        f"no port from {DEFAULT_PORT} to {DEFAULT_PORT + NEXT_PORTS - 1} is free on {host} "
        f"({why}); name one with --port."
    )


def serve(
    offers: Offers,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    said: Callable[[str], None] = lambda text: None,
    loaded: Callable[[DepthModel], None] = lambda model: None,
) -> None:
    """Run the explorer until it is interrupted.

    Args:
        offers: models and tasks.
        host: an address of this computer; beyond loopback a token is asked for.
        port: None takes the first free one from 8050 on.
        browser: whether to open a browser.
        said: is told where the explorer is.
        loaded: is given every model once it is loaded.
    Raises:
        OSError: the port is taken, or there is no such address.
    """
    chosen = free_port(host, port)
    token = None if is_loopback(host) else secrets.token_urlsafe(24)

    def load(**arguments: Any) -> DepthModel:
        model = load_model(**arguments)
        loaded(model)
        return model

    shelf, jobs = Shelf(offers, load), Jobs(describe=readable)
    app = create_app(offers, shelf=shelf, jobs=jobs)
    guard(app.server, host=host, token=token)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(host.strip("[]"), chosen, app.server, threaded=True)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    link = f"http://{f'[{shown}]' if ':' in shown else shown}:{chosen}/"
    if token is not None:
        said(
            f"warning: {host} can be reached from other computers. Whoever has this link may use "
            f"the explorer; the connection is not encrypted."
        )
        link += f"?token={token}"
    if port is None and chosen != DEFAULT_PORT:
        said(f"port {DEFAULT_PORT} is taken, {chosen} is used.")
    said(f"the explorer is at {link} (Ctrl-C ends it)")
    # Loading takes longest: it begins before anybody has opened the page.
    threading.Thread(target=_load_first, args=(shelf,), daemon=True).start()
    if browser:
        threading.Timer(0.3, webbrowser.open, (link,)).start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        said("bye.")
    finally:
        server.server_close()
        jobs.close()
        shelf.close()


def _load_first(shelf: Shelf) -> None:
    """Load the first model, and find what the page starts with before it is asked for."""
    with suppress(Exception):  # the page says what is wrong when it asks for the model
        screen = settle(Screen(model=shelf.offers.model, task=shelf.offers.task), shelf).screen
        for card in cards_of(screen):
            fill(card, screen, shelf)
