"""What mkdocs calls: pages that are made rather than written, and links to files of the repository.

A link from a page to a file outside docs/ is one that is right in the repository. On the site it leads to a page with that file.
"""

import os
import re
from pathlib import Path

import api_pages
import method_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
README = "readme.md"
_LINK = re.compile(r"(\]\()((?:\.\./)*(?:README\.md|src/[\w./-]+\.py|tests/[\w./-]+\.py|benchmarks/\w+\.py))(?=[)#])")
_INTERVAL = re.compile(r"(\d) \[([\d.]+), ([\d.]+)\](?= \|)")  # in a cell of a table
_FROM_README = re.compile(r"(\]\()docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The made pages, and one for each file of the repository that a page links to."""
    readme = _FROM_README.sub(r"\1", (ROOT / "README.md").read_text(encoding="utf-8"))
    made = {README: readme, "methods.md": method_page.page(), **api_pages.pages()}
    written = [file.content_string for file in files.documentation_pages()]
    linked = {link.replace("../", "") for text in (*made.values(), *written) for _, link in _LINK.findall(text)}
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    for path in sorted(linked - {"README.md"}):
        aside = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, _page_of(path), content=_code_page(path), inclusion=aside))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository as links to their pages; numbers stay in one line with their intervals."""
    del config, files
    above = Path(page.file.src_uri).parent.as_posix()

    def there(found: re.Match[str]) -> str:
        path = found[2].replace("../", "")
        return found[1] + Path(os.path.relpath(README if path == "README.md" else _page_of(path), above)).as_posix()

    return _INTERVAL.sub("\\1\u00a0[\\2,\u00a0\\3]", _LINK.sub(there, markdown))


def _page_of(path: str) -> str:
    return f"code/{path}.md"


def _code_page(path: str) -> str:
    code = (ROOT / path).read_text(encoding="utf-8")
    return f'---\nsearch:\n  exclude: true\n---\n# {path}\n\n````python linenums="1"\n{code}````\n'
