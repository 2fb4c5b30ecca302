"""What may be changed in a file: one thing at each place, by the operators of cosmic-ray.

Left out are annotations and aliases of types, errors with their texts, what is for type checkers
alone, and operators that could not stand there.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# In no environment but that of `make mutants`.
import cosmic_ray.plugins  # type: ignore[import-not-found]
from cosmic_ray.ast import ast_nodes, get_ast  # type: ignore[import-not-found]
from cosmic_ray.mutating import mutate_code  # type: ignore[import-not-found]
from parso.tree import NodeOrLeaf

ROOT = Path(__file__).resolve().parents[1]
KINDS = (
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"BitOr", "BitAnd", "BitXor", "RShift", "LShift"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
)
"""Operators that can stand for each other; others raise TypeError at once, or change nothing."""

Key = tuple[str, str, str, str]
"""Module, operator, the line before and after."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file, and what came of it."""

    module: str
    line: int
    operator: str
    was: str
    became: str
    by: str = ""
    """The test that noticed it, or "time"; "" where it survived."""

    @property
    def key(self) -> Key:
        """What it is, wherever in the file that stands by now."""
        return self.module, self.operator, self.was, self.became


def sites(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """By line and column: the operators that change something there, each with its occurrence."""
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in cosmic_ray.plugins.operator_names():
        operator_class = cosmic_ray.plugins.get_operator(name)
        if operator_class.arguments() or not _fits(name):
            continue
        operator, occurrence = operator_class(), 0
        for node in nodes:
            for (line, column), _ in operator.mutation_positions(node):
                if not _no_matter(node):
                    found.setdefault((line, column), []).append((name, occurrence))
                occurrence += 1
    return found


def _fits(name: str) -> bool:
    _, *ends = name.rpartition("/")[2].split("_")
    if name.rpartition("/")[2].startswith("ReplaceUnary"):
        return ends[0] == "Delete"  # a plus for a minus is the same
    return len(ends) != 2 or any(set(ends) <= kind for kind in KINDS)


def _no_matter(node: NodeOrLeaf) -> bool:
    """Whether it is of an annotation, an alias of types, an error or what dataclasses are told."""
    child, parent = None, node
    if getattr(node, "value", "") == "|" and not node.search_ancestor("funcdef"):
        return True
    while parent is not None:
        kind = parent.type
        children: list[NodeOrLeaf] = list(getattr(parent, "children", ()))
        if kind in ("raise_stmt", "decorator") and child is not None:
            return True
        if kind in ("annassign", "tfpdef") and child is children[1 if kind == "annassign" else 2]:
            return True
        if kind == "funcdef" and child is not None and child is getattr(parent, "annotation", None):
            return True
        if kind == "if_stmt" and getattr(children[1], "value", "") == "TYPE_CHECKING":
            return True
        child, parent = parent, parent.parent
    return False


def mutants(
    paths: Sequence[Path], seed: int, wanted: Collection[Key] = ()
) -> Iterator[tuple[Mutant, Path, str]]:
    """In an order that the seed gives, one at each place: the mutant, its file, its source.

    Args:
        paths: the files that are changed.
        seed: of the order and of the choice at a place.
        wanted: where given, all that are meant by these, and no others.
    """
    rng, places = random.Random(seed), []
    for path in paths:
        source = path.read_text()
        places += [(path, source, at, there) for at, there in sites(source).items()]
    rng.shuffle(places)
    begun = {key[:2] for key in wanted}
    for path, source, (line, _), there in places:
        for name, occurrence in there if wanted else [rng.choice(there)]:
            module, operator = str(path.relative_to(ROOT)), name.rpartition("/")[2]
            if wanted and (module, operator) not in begun:
                continue
            changed = mutate_code(source, cosmic_ray.plugins.get_operator(name)(), occurrence)
            if changed is None or not _compiles(changed):
                continue
            before, after = source.splitlines(), changed.splitlines()
            became = next(b for a, b in zip(before, after, strict=False) if a != b).strip()
            was = before[line - 1].strip()
            one = Mutant(module=module, line=line, operator=operator, was=was, became=became)
            if not wanted or one.key in wanted:
                yield one, path, changed


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
