"""Plotly's figures as places in a page that its script fills once they are seen.

The documentation's gallery is drawn with them while the site is built: its blocks of Python are one
program, and below each that ends in a figure the figure stands.
"""

import ast
import json
import re
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
SCRIPTS = '<script src="course/plotly.min.js"></script><script src="course/page.js"></script>'


def figure_html(figure: dict[str, Any], number: int) -> str:
    """A place for a figure, and the script that draws it there once it is seen."""
    data = json.dumps(figure).replace("</", "<\\/")
    height = figure.get("layout", {}).get("height", 450)
    return (
        f'<div class="figure" id="figure-{number}" style="min-height:{height}px"></div>'
        f'<script type="application/json" data-figure="figure-{number}">{data}</script>'
    )


def ran(code: str, names: dict[str, Any]) -> Any:
    """Run a block; the value of its last line, as in a notebook, or None where that has none."""
    tree = ast.parse(code)
    last = tree.body[-1]
    value = ast.Expression(last.value if isinstance(last, ast.Expr) else ast.Constant(None))
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, "the gallery", "exec"), names)
    return eval(compile(ast.fix_missing_locations(value), "the gallery", "eval"), names)


def drawn(markdown: str) -> str:
    """A page with the figures of its blocks below them."""
    names: dict[str, Any] = {}
    numbers = iter(range(1, 100))

    def with_figure(found: re.Match[str]) -> str:
        figure = ran(found[1], names)
        if figure is None:
            return found[0]
        return f"{found[0]}\n{figure_html(json.loads(figure.to_json()), next(numbers))}\n"

    return f"{BLOCK.sub(with_figure, markdown)}\n{SCRIPTS}\n"
