"""The pages of the API: the public names of each package, file by file, from the packages' own lists."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

PACKAGES = ("attacks", "objectives", "evaluation", "data", "models", "losses", "training", "recipes")


def pages() -> dict[str, str]:
    """{path in the docs: Markdown}: one page for the package itself, and one for each of its packages."""
    made = {f"api/{name}.md": page(f"hardy.{name}") for name in PACKAGES}
    return {"api/hardy.md": page("hardy"), **made}


def page(package: str) -> str:
    """What a package is, its public names in a table, and below it what each of its files says of itself and of them."""
    made = importlib.import_module(package)
    where = _where(made)
    parts = [f"# {package}", inspect.getdoc(made) or "", _table(made, where)]
    for module in sorted(set(where.values())):
        names = [name for name, place in where.items() if place == module and _own(name, module, package)]
        if names:
            parts.append(_section(module, [] if _has_no_list(made) else names))
    return "\n\n".join(parts) + "\n"


def _own(name: str, module: str, package: str) -> bool:
    """Whether the page of this package tells of the name: of one from another package's files only where that has it not."""
    if inspect.ismodule(getattr(importlib.import_module(package), name, None)):
        return package != "hardy"
    home = next((f"hardy.{p}" for p in PACKAGES if f"{module}.".startswith(f"hardy.{p}.")), "hardy")
    if package == home or package != "hardy":
        return package == home
    return name not in _where(importlib.import_module(home))


def _has_no_list(made: ModuleType) -> bool:
    """Whether the package names nothing as public itself: then everything public in its files is."""
    return not hasattr(made, "__all__")


def _where(made: ModuleType) -> dict[str, str]:
    """{public name: the module that has it}, as the package imports them; of a package without a list, all of its files."""
    if _has_no_list(made):
        return {f.name: f"{made.__name__}.{f.name}" for f in pkgutil.iter_modules(made.__path__)}
    code = ast.parse(Path(str(made.__file__)).read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module
        for node in ast.walk(code)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    return {name: imported.get(name, made.__name__) for name in sorted(made.__all__, key=str.lower)}


def _table(made: ModuleType, where: dict[str, str]) -> str:
    lines = ["| name | what it is |", "|---|---|"]
    for name, module in where.items():
        documented = importlib.import_module(module) if _has_no_list(made) else getattr(made, name)
        if not inspect.ismodule(documented):
            link = f"[{module}.{name}]"
        else:
            link = f"(#{module})" if _has_no_list(made) else f"({name}.md)"
        told = inspect.isclass(documented) or inspect.isroutine(documented) or inspect.ismodule(documented)
        first = _sentence(inspect.getdoc(documented) or "") if told else "a type"
        lines.append(f"| [`{name}`]{link} | {first.replace('|', '&#124;').replace('<', '&lt;')} |")
    return "\n".join(lines)


def _sentence(docstring: str) -> str:
    """What a docstring says first."""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", paragraph)[0]


def _section(module: str, names: list[str]) -> str:
    """A file: its heading, where its code is, and for mkdocstrings which of its names are shown; none is all."""
    shown = f"      members: [{', '.join(names)}]\n" if names else ""
    source = Path(str(importlib.import_module(module).__file__)).as_posix().rpartition("/src/")[2]
    heading = f"## {module} {{ #{module} }}\n\n[The code](../../src/{source})"
    return f"{heading}\n\n::: {module}\n    options:\n{shown}      heading_level: 3\n"
