"""Move: a cell of one map put onto another, and what the model says then."""

from dash import ClientsideFunction, Dash, Input, Output, html, no_update

from lensdepth.explorer import questions
from lensdepth.explorer.cards import cards_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.filling import Filled, blank, card_outputs, fill, no_cards, screen_of
from lensdepth.explorer.moves import LOCAL, remarks_of, said_of_move
from lensdepth.explorer.panels import message, notices
from lensdepth.explorer.scopes import outcome_of, scope_table
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.telling.plain import Json


def register(app: Dash, shelf: Shelf) -> None:
    """Attach the callbacks."""

    @app.callback(
        output={
            "cards": card_outputs("move"),
            "said": Output("move-said", "children"),
            "remarks": Output("move-remarks", "children"),
            "table": Output("move-table", "children"),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-move", "data")],
        prevent_initial_call=True,
    )
    def move(query: object) -> Json:
        if query is None:
            return {"cards": no_cards("move"), **_still()}
        screen = screen_of(query, "move", shelf)
        filled = {card.name: fill(card, screen, shelf) for card in cards_of(screen)}
        try:
            told = _told(screen, shelf)
        except Exception as error:
            # The place of the numbers says what is wrong; there is nothing to draw.
            filled["moved"] = Filled(hidden=True)
            table = [message(readable(error))]
            told = {"said": "", "remarks": [], "table": table, "outcome": "did not fit"}
        told["outcome"] = {"query": query, "text": told["outcome"]}
        return {"cards": blank("move", filled), **told}

    app.clientside_callback(
        ClientsideFunction("moves", "forget"),
        Output("move-hint", "children"),
        Input("screen", "data"),
    )


def _still() -> Json:
    return dict.fromkeys(("said", "remarks", "table", "outcome"), no_update)


def _told(screen: Screen, shelf: Shelf) -> Json:
    """What a move did, said and in numbers."""
    answer = questions.answer(questions.moved_of(screen), shelf)
    found, model = answer.value, shelf.model(screen.model)
    texts = {"base": screen.prompt, "source": screen.source}
    giving, taking = (model.str_tokens(texts[name]) for name in (screen.giver, screen.taker))
    table, *_ = scope_table(found, LOCAL)
    remarks = remarks_of(found, screen, len(taking))
    return {
        "said": said_of_move(found, screen, giving, taking),
        "remarks": [html.P(text, className="remark") for text in remarks],
        "table": [table, *notices(answer.notes)],
        "outcome": outcome_of(found, LOCAL),
    }  # fmt: skip
