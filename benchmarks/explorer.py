"""How long the explorer takes to answer: a poke and a whole sweep, through HTTP as a browser asks.

    python -m benchmarks.explorer --repeats 15 --threads 2 --out out/bench/explorer.json

Every poke asks something new (another depth, token, edit or strength), so that nothing comes from
the cache; the time is that of the whole request for the view, figures and tables included. The
sweep patches the residual stream at every depth and every token of one pair, and on 40 pairs at
the input and the prediction position with controls, from the click to the finished figures.
"""

import argparse
import itertools
import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import requests
import torch
from werkzeug.serving import make_server

from lensdepth.explorer import Offers, create_app
from lensdepth.explorer.jobs import Jobs
from lensdepth.explorer.server import free_port
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.intervention import EDITS
from lensdepth.writing import write_text


class Client:
    """What a browser does, without one.

    Args:
        address: of a running explorer.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.dependencies = self.session.get(f"{address}_dash-dependencies", timeout=60).json()

    def call(self, output: str, given: dict[str, Any]) -> dict[str, Any]:
        """Run the callback whose outputs begin with or hold a name.

        Args:
            output: a part of the callback's outputs.
            given: values of its inputs and states, by id and property; the rest is null.
        """
        found = next(d for d in self.dependencies if output in d["output"])
        body = {
            "output": found["output"],
            "outputs": _outputs(found["output"]),
            "inputs": [_filled(i, given) for i in found["inputs"]],
            "state": [_filled(i, given) for i in found["state"]],
            "changedPropIds": [next(f"{i['id']}.{i['property']}" for i in found["inputs"])],
        }
        answer = self.session.post(f"{self.address}_dash-update-component", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.status_code == 200 else {}


def _outputs(text: str) -> list[dict[str, Any]]:
    """Ids and properties of a callback's outputs, as Dash writes them in one string."""
    parts = text.strip(".").split("...") if text.startswith("..") else [text]
    found = []
    for part in parts:
        name, _, prop = part.rpartition(".")
        found.append({"id": json.loads(name) if name.startswith("{") else name, "property": prop})
    return found


def _filled(item: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return {**item, "value": given.get(f"{item['id']}.{item['property']}")}


def pokes(n: int, screen: Screen) -> list[str]:
    """Queries of pokes of which no two ask the same."""
    grid = itertools.product(("full", "direction", "norm", "rotate", "scale"), range(1, 10), (4, 5))
    found = []
    for edit, depth, position in itertools.islice(grid, n):
        strength = 0.9 * EDITS[edit].default
        values = {
            "edit": edit, "depth": depth, "position": position, "to": position,
            "strength": strength,
        }  # fmt: skip
        found.append(Screen(**{**vars(screen), **values}).query())
    return found


def main() -> None:
    """Time both and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="calendar")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    offers = Offers(
        models={options.model: {"name_or_path": options.model}},
        tasks={"months": {"name_or_path": "months"}},
    )
    shelf, jobs = Shelf(offers), Jobs()
    began = time.perf_counter()
    app = create_app(offers, shelf=shelf, jobs=jobs)
    shelf.model(options.model)
    loading = time.perf_counter() - began
    port = free_port("127.0.0.1", None)
    server = make_server("127.0.0.1", port, app.server, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client(f"http://127.0.0.1:{port}/")
    screen = Screen(
        model=options.model, task="months", view="poke", depth=7,
        prompt="Two months from May is", source="Two months from June is",
    )  # fmt: skip
    client.call("scopes.children", {"ask-poke.data": screen.query()})  # the first one compares
    times = []
    for query in pokes(options.repeats, screen):
        began = time.perf_counter()
        client.call("scopes.children", {"ask-poke.data": query})
        times.append(time.perf_counter() - began)
    sweeps = {on: sweep(client, screen, on) for on in ("pair", "task")}
    result = {
        "model": options.model, "threads": options.threads, "loading": loading,
        "poke": {"median": statistics.median(times), "worst": max(times), "n": len(times)},
        "sweep": sweeps,
    }  # fmt: skip
    server.shutdown()
    jobs.close()
    print(json.dumps(result, indent=1))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, json.dumps(result, indent=1))


def sweep(client: Client, screen: Screen, on: str) -> float:
    """Seconds from the click to the drawn figures."""
    values = {**vars(screen), "view": "sweep", "on": on, "pairs": 40, "run": True}
    query = Screen(**values).query()
    began = time.perf_counter()
    started = client.call("sweep-said.children", {"ask-sweep.data": query})
    job = started["response"]["job"]["data"]
    while True:
        found = client.call("job-text.children", {"job.data": job, "poll.data": 1})
        done = found["response"].get("done")
        if done is not None:
            break
        time.sleep(0.02)
    given = {"ask-sweep.data": query, "done.data": done["data"], "job.data": job}
    shown = client.call("sweep-said.children", given)["response"]
    assert any("data" in part for name, part in shown.items() if "figure" in name)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
