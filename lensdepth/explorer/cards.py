"""What stands on the screen: each view's cards, a question each with how it is drawn."""

from dataclasses import dataclass, replace
from typing import Any

from lensdepth.analyses import analysis
from lensdepth.explorer.questions import (
    MODEL,
    TASK,
    Question,
    ask,
    followed_of,
    given_answers,
    intervention_of,
    lens_of,
    model_of,
    moved_of,
    pair_of,
    table_of_pairs,
    task_of,
    written_of,
)
from lensdepth.explorer.state import MOST_NODES, Screen


@dataclass(frozen=True)
class Card:
    """Something on the screen: a figure and a table of one result."""

    name: str
    title: str
    question: Question
    draw: str = "plot"
    draw_options: tuple[tuple[str, Any], ...] = ()
    table: str = "to_frame"
    slow: bool = False
    """Whether it is found in the background, and only when asked for."""
    table_options: tuple[tuple[str, Any], ...] = ()
    told: str = ""
    """The analysis that says in words what was found; nothing for figures alone."""
    says: bool = False
    """Whether these words stand in the card, not above all of the view's."""
    click: str = ""
    """What a click in the figure chooses: `cell`, `map`, `curve`, `head`, `node` or `pair`."""


def cards_of(screen: Screen) -> tuple[Card, ...]:
    """Everything that a view shows, in order."""
    return {
        "read": _read, "poke": _poke, "move": _move, "sweep": _sweep, "circuit": _circuit,
        "write": _write, "pairs": _pairs, "compare": _compare, "keep": lambda screen: (),
    }[screen.view](screen)  # fmt: skip


def token_map(screen: Screen) -> Card:
    """The prompt's tokens by depth."""
    return Card(
        "map",
        "Token by token, depth by depth",
        lens_of(screen),
        draw="plot_tokens",
        draw_options=(("value", screen.value),),
        slow=screen.lens == "tuned",
        click="cell",
    )


def _read(screen: Screen) -> tuple[Card, ...]:
    lens = lens_of(screen)
    return (
        token_map(screen),
        Card("next", "The model's next token", lens, draw="plot_top"),
        Card(
            "cell",
            f"At the chosen cell: depth {screen.at}, token {screen.position}",
            lens,
            draw="plot_top",
            draw_options=(("position", screen.position), ("depth", screen.at)),
        ),
        *_followed(screen),
    )


def _followed(screen: Screen) -> tuple[Card, ...]:
    if not screen.follow:
        return ()
    return (
        Card(
            "followed",
            f"{screen.follow}: where it stands at every depth, behind token {screen.position}",
            followed_of(screen),
            draw="plot_followed",
            draw_options=(("position", screen.position),),
            table="followed_frame",
            slow=screen.lens == "tuned",
        ),
    )


def _poke(screen: Screen) -> tuple[Card, ...]:
    found = intervention_of(screen)
    return (
        Card("predictions", "Next token before and after", found, draw="plot_predictions"),
        Card(
            "trajectory",
            "Where the last token's state goes",
            found,
            draw_options=(("scope", screen.focus),),
            table="trajectory_frame",
        ),
    )


def _move(screen: Screen) -> tuple[Card, ...]:
    plain = replace(screen, lens="logit")
    maps = [
        Card(
            f"{name}-map", f"{name.capitalize()} prompt{_ends(screen, name)}", lens,
            draw="plot_tokens", draw_options=(("value", screen.value),), click="move",
        )
        for name, text in (("base", screen.prompt), ("source", screen.source))
        if text.strip()
        for lens in (lens_of(plain, prompt=text),)
    ]  # fmt: skip
    moved = Card("moved", "Next token before and after the move", moved_of(screen),
                 draw="plot_predictions")  # fmt: skip
    return (moved, *maps)


def _ends(screen: Screen, name: str) -> str:
    """What of a prompt is taken and put, in its map's title."""
    said = []
    if screen.giver == name:
        said.append(f"taken at depth {screen.from_depth}, token {screen.from_position}")
    if screen.taker == name:
        said.append(f"put at depth {screen.into_depth}, token {screen.into_position}")
    return f": {'; '.join(said)}" if said else ""


def _sweep(screen: Screen) -> tuple[Card, ...]:
    model = model_of(screen)
    on_task = screen.on == "task"
    pairs = task_of(screen, screen.pairs, keep="correct") if on_task else pair_of(screen)
    if screen.sweep == "ablate":
        swap = ask("ablation", "ablation_sweep", model, pairs)
        return (
            Card(
                "ablation",
                analysis("ablation").title,
                swap,
                slow=True,
                told="ablation",
                click="curve",
            ),
            Card(
                "made-of",
                "What the transferred fraction is made of",
                swap,
                draw="plot_made_of",
                slow=True,
            ),
        )
    if screen.sweep == "steer":
        steering = ask("steering", "steering_sweep", model, pairs)
        return (
            Card(
                "steering",
                "Steering at the input and at the output",
                steering,
                slow=True,
                told="steering",
                click="curve",
            ),
        )
    options = {} if screen.stream == "resid_pre" else {"stream": screen.stream}
    tokens = ask(
        "by_token", "patch_sweep", model, pairs,
        positions="all", also=(), controls=(), **options,
    )  # fmt: skip
    by_token = Card(
        "patch-map", "Every token at every depth", tokens, draw="heatmap", table="mean_frame",
        slow=True, click="map",
    )  # fmt: skip
    if not on_task:
        return (by_token,)
    curves = ask("patch", "patch_sweep", model, pairs, **options)
    return (
        Card("patch", "Input against output", curves, slow=True, told="patch", click="curve"),
        by_token,
    )


def crossing_of(screen: Screen) -> Question | None:
    """Where the curves of a sweep cross, or who holds control between, if it has such curves."""
    if screen.view != "sweep" or screen.on != "task" or screen.sweep == "ablate":
        return None
    if screen.sweep == "patch" and screen.stream != "resid_pre":
        return None
    curves = _sweep(screen)[0].question
    model, pairs = curves.arguments
    return ask("held", "find_holder", model, pairs, ask("crossing", "find_crossing", curves))


def _circuit(screen: Screen) -> tuple[Card, ...]:
    model, pair = model_of(screen), pair_of(screen)
    turned = given_answers(screen.foil, screen.target)
    own = ask("own", "pair_task", screen.prompt, screen.source, model, **turned)
    shown = [
        Card(
            "attribution",
            "What each part adds to the answer",
            ask("attribution", "attribute_logits", model, own),
            table="mean_frame",
            click="head",
        ),
        Card(
            "heads",
            "Patching heads, one by one, at the last token",
            ask(
                "heads", "patch_sweep", model, pair, stream="z", heads="all",
                positions=("prediction",),
            ),
            draw="heatmap",
            table="mean_frame",
            click="head",
        ),
        Card(
            "attention",
            f"Where head {screen.looked} of block {screen.layer} looks",
            ask(
                "patterns", "attention_patterns", model, screen.prompt, layers=(screen.layer,)
            ),
            draw_options=(("layer", screen.layer), ("head", screen.looked)),
        ),
    ]  # fmt: skip
    if screen.components:
        components = patch_components_of(screen)
        shown.append(
            Card(
                "components", "The pinned set against all the rest", components,
                table="mean_frame", told="circuit", says=True,
            )
        )  # fmt: skip
    return (*shown, *graph_cards(screen))


def graph_of(screen: Screen) -> Question:
    """The pair's circuit as a graph."""
    return ask(
        "graph", "circuit_graph", model_of(screen), pair_of(screen),
        top=MOST_NODES, paths=screen.paths,
    )  # fmt: skip


def graph_cards(screen: Screen) -> tuple[Card, ...]:
    """The graph, what its nodes do together, and one edge by itself; nothing until asked for."""
    if not screen.graphed:
        return ()
    graph, model, pair = graph_of(screen), model_of(screen), pair_of(screen)
    shown = [
        Card(
            "graph", f"What passes from node to node: up to {screen.kept} nodes", graph,
            draw_options=(("keep", screen.kept), ("pinned", screen.components)),
            slow=True, told="graph", says=True, click="node",
        ),
        Card(
            "graph-set", "The graph's nodes patched together",
            ask("together", "graph_faithfulness", model, pair, graph, n_nodes=screen.kept),
            table="mean_frame", slow=True, told="circuit", says=True,
        ),
    ]  # fmt: skip
    if screen.upstream and screen.downstream:
        edge = ask(
            "edge", "patch_edge", model, pair, screen.upstream, screen.downstream,
            paths=screen.paths,
        )  # fmt: skip
        title = f"One edge alone: {screen.upstream} → {screen.downstream}"
        shown.append(Card("edge", title, edge, told="graph", says=True))
    return tuple(shown)


def patch_components_of(screen: Screen) -> Question:
    """What patching the pinned components does, at the last token where they name no other."""
    return ask("circuit", "patch_components", model_of(screen), pair_of(screen), screen.components)


def _write(screen: Screen) -> tuple[Card, ...]:
    written = written_of(screen)
    value = ("value", "probability")
    along = Card(
        "written", "Where each token is settled, along the text", written, slow=True,
        told="generation",
    )  # fmt: skip
    base, edited = (
        Card(
            name, title, written, draw="plot_map", draw_options=(("run", run), value),
            table="depth_frame", slow=True,
        )
        for name, title, run in (
            ("written-map", "Token by token: the base", "base"),
            ("edited-map", "Token by token: with the edit held on", "edited"),
        )
    )  # fmt: skip
    return (along, base) if screen.held == "none" else (along, base, edited)


def _pairs(screen: Screen) -> tuple[Card, ...]:
    return (
        Card(
            "pair-dots", "Every pair as a dot", table_of_pairs(screen), table="sorted_frame",
            table_options=(
                ("by", screen.order), ("descending", screen.descending), ("only", screen.only),
                ("text", screen.find),
            ),
            slow=True, told="pairs", click="pair",
        ),
    )  # fmt: skip


def _compare(screen: Screen) -> tuple[Card, ...]:
    if screen.against == "prompt":
        first, second = lens_of(screen), lens_of(screen, prompt=screen.other_prompt)
        lenses = [
            ask(name, "logit_lens", model_of(screen), text)
            for name, text in (("first", screen.prompt), ("second", screen.other_prompt))
        ]
        names = ("first prompt", "second prompt")
    else:
        other = ask("other", MODEL, screen.other_model)
        first, second = lens_of(screen), lens_of(screen, model=screen.other_model)
        lenses = [
            ask("first", "logit_lens", model_of(screen), task_of(screen, screen.pairs)),
            ask(
                "second", "logit_lens", other,
                ask("other_task", TASK, screen.task, other, n=screen.pairs, keep="all"),
            ),
        ]  # fmt: skip
        names = (screen.model, screen.other_model)
    together = ask("both", "compare_lenses", *lenses, names=names)
    value = (("value", screen.value),)
    return (
        Card("both", "Both on one axis, from the embedding to the answer", together),
        Card("first", f"Token by token: {names[0]}", first, draw="plot_tokens",
                draw_options=value),
        Card("second", f"Token by token: {names[1]}", second, draw="plot_tokens",
                draw_options=value),
    )  # fmt: skip
