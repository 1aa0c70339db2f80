"""A report as one HTML page that fetches nothing: styles, script and figures are inside."""

import dataclasses
import re
from itertools import count
from pathlib import Path

from hardy.report.document import Document
from hardy.report.figures import Figure, Pictures
from hardy.report.plots import svg

_PARTS = Path(__file__).parent / "page_parts"  # template, style and script
_VERDICTS = {"no sign": "good", "suspicious": "doubt", "masked": "bad"}  # classes of the style


def html(document: Document) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    numbers = count()

    def drawn(figure: Figure) -> Markup:
        untitled = dataclasses.replace(figure, title="")  # type: ignore[type-var]  # the page has it as caption
        return Markup(svg(untitled, f"figure-{next(numbers)}"))

    environment = Environment(
        loader=FileSystemLoader(_PARTS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["pictures"] = lambda figure: isinstance(figure, Pictures)
    environment.filters["prose"] = lambda text: Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
    environment.filters["kind"] = lambda block: type(block).__name__
    style, script = (Markup((_PARTS / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        document=document, drawn=drawn, verdicts=_VERDICTS, style=style, script=script
    )
