"""The page of methods: a section a method, from what the sources say of it and what was measured.

Nothing is written here that stands elsewhere: equations and known numbers are `recipes/methods.py`'s, what a paper and its code
differ in is the objective's own docstring's, costs are counted, and measurements are the rows in docs/results.
"""

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))

import low_data
import methods as compared
from house_style import markdown

from hardy.attacks import PGD, Linf
from hardy.cli.list import passes
from hardy.objectives import AWP, Objective
from hardy.recipes import recipes, tables
from hardy.recipes.methods import METHODS, Inner, Method
from hardy.training.passes import Passes

_STEPS = 7
_HEADS = ("trained for, weights", "clean", "PGD-20", "CW-20", "NATTACK", "AutoAttack", "masking")
_ABOUT = f"""# Methods

`hardy list methods` prints the equations, costs and known numbers of this page; `hardy train RECIPE` trains one. `awp-` in front
of any recipe's name puts [AWP](#awp-pgdat) around its method.

- In **equations** x is an image, y its label, x' what was crafted, f the logits, M a class activation map. Their numbers are
  those of the RLFAT, InfoFeature and RAT papers, which repeat some of others' equations.
- A step's **cost** is in passes of the batch through the network, forward and backward, with {_STEPS} steps of attack where a
  method leaves their number open. Plain training has one and one.
- **Known AutoAttack accuracies** are of CIFAR-10 in Linf at 8/255, of others' networks, in %.
- **Our numbers** are in %, with 95 % intervals of test sampling, of seed 0 where no other is named; PGD and CW are judged at
  the last iterate. "Best" weights are those of the highest accuracy on held-out images. [What the numbers
  mean](evaluation.md).
"""
_COMPARED = """## Compared

All methods of which every number is there, at one budget, as `hardy table methods --scale small --precision bfloat16` trains and
measures them: {scale}; last weights; 1,000 test images, 200 under AutoAttack, 100 for the verdict of `hardy diagnose`. What 10
epochs tell of methods that are made for 100 is how they begin. The rows of 50 epochs, below, are of the same images and network,
and are discussed in [the README](../README.md#rlfat-on-little-data).

{table}"""


def page() -> str:
    """The page as Markdown."""
    short, long, costs, named = compared.found(), list(low_data.table()), passes(), _recipes()
    sections = []
    first_of: dict[str, str] = {}  # the method under which an objective's file is told of
    for name, method in METHODS.items():
        objective = method.build(Inner(Linf(8 / 255), _STEPS))
        rows = [_short(compared.cells(short[name]))] if name in short else []
        rows += [(_long(title, which), *cells, "–") for of, (title, which, *cells) in long if of == name]
        first = first_of.setdefault(type(objective).__module__, name)
        sections.append(_section(name, method, objective, costs[name], named[name], rows, first))
    scale = tables()["methods"].settings["small"].says
    return "\n\n".join([_ABOUT, _COMPARED.format(scale=scale, table=compared.show()), *sections]) + "\n"


def _section(
    name: str,
    method: Method,
    objective: Objective,
    cost: Passes,
    named: list[str],
    rows: Sequence[Sequence[str]],
    first: str,
) -> str:
    """One method. first: the method that stands first of those of its file, where the file's docstring is."""
    made = type(objective)
    paper = f"{method.paper} {method.year}" if method.year else "no paper"
    told = f"What its paper and code leave open or differ in: under [`{first}`](#{first}), of the same file."
    if first == name:
        told = markdown(inspect.getdoc(sys.modules[made.__module__]) or "")
    parts = [
        f"## {name} {{ #{name} }}",
        f"{method.what[:1].upper()}{method.what[1:]}; {paper}.",
        f"```{{ .text .equation }}\n{method.equation}\n```",
        told,
        f"- **Objective:** {_link(made)}. {markdown(inspect.getdoc(made) or '')}{_inside(objective)}\n"
        f"- **A step costs** {cost.forwards:g} forward and {cost.backwards:g} backward passes.\n"
        f"- **Known AutoAttack accuracy:** {method.autoattack}.\n"
        f"- **Recipes:** {', '.join(named)}.",
        _table(rows) if rows else "Not measured here yet.",
    ]
    return "\n\n".join(parts)


def _link(made: type) -> str:
    return f"[`{made.__name__}`][{made.__module__}.{made.__qualname__}]"


def _inside(objective: Objective) -> str:
    """The attack whose images it trains on, where that is not PGD."""
    attack = (objective.inner if isinstance(objective, AWP) else objective).attack
    return "" if attack is None or isinstance(attack, PGD) else f" Its attack: {_link(type(attack))}."


def _recipes() -> dict[str, list[str]]:
    """The names of each method's recipes: those that begin with its name, and with no longer one."""
    found: dict[str, list[str]] = {method: [] for method in METHODS}
    for name in recipes():
        found[max((method for method in METHODS if name.startswith(f"{method}-")), key=len)].append(f"`{name}`")
    return found


def _short(cells: Sequence[str]) -> tuple[str, ...]:
    """The row of the table of all methods, which has no column for NATTACK."""
    clean, pgd, cw, autoattack, verdict = cells
    return "10 epochs, last", clean, pgd, cw, "–", autoattack, verdict


def _long(title: str, which: str) -> str:
    """What a network of the comparison on little data is called here."""
    _, comma, seed = title.partition(", seed")
    return f"50 epochs{comma}{seed}, {'last' if which.startswith('last') else which}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Under their heads, without the columns that nobody has anything in."""
    shown = [i for i in range(len(_HEADS)) if any(row[i] != "–" for row in rows)]
    lines = (_HEADS, ["---"] * len(_HEADS), *rows)
    return "\n".join(f"| {' | '.join(line[i] for i in shown)} |" for line in lines)
