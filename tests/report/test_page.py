import re
import shutil
from html.parser import HTMLParser

import pytest
from folders import analysis, diagnosis, row, run

from hardy.report.collect import collect
from hardy.report.page import html
from hardy.report.sections import report

AUTOATTACK = {"attack": {"type": "AutoAttack"}, "summary": "AutoAttack", "judge": "any"}


def folder_of(path):
    """Three networks, two diagnoses, and an analysis of each kind of figure that a page treats in its own way."""
    for name, value in (("first", 0.5), ("second", 0.25), ("third", 0.75)):
        run(path / name, [row(value=value), row("accuracy under autoattack", value / 2, settings=AUTOATTACK)])
    run(path / "third", [row(value=0.75)])  # without AutoAttack: a gap in its column
    diagnosis(path / "first" / "d.json", "masked")
    analysis(path, "eps")
    analysis(path, "pictures")
    return path


def page_of(path):
    return html(report(collect([path]), {}, {"steps": "accuracy by <steps>"}))


class _Checked(HTMLParser):
    """Sees that every element is closed, no identifier comes twice, and every picture has words."""

    VOID = ("meta", "link", "img", "br", "path", "use", "rect", "image")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.fetched = [], [], []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [told["id"]] if "id" in told else []
        self.fetched += [
            told[name] for name in ("src", "href", "xlink:href") if not told.get(name, "#").startswith(("#", "data:"))
        ]
        assert tag != "img" or told.get("alt")
        assert told.get("role") != "img" or told.get("aria-label")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_fetches_nothing_and_describes_its_figures(tmp_path):
    checked = _Checked()
    text = page_of(folder_of(tmp_path))
    checked.feed(text)
    assert checked.open == []
    assert len(set(checked.ids)) == len(checked.ids)
    assert checked.fetched == []
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttp", text)
    assert text.count("<svg") == 1  # lines of the analysis; pictures are pictures
    assert "data:image/png;base64," in text


def test_what_files_say_is_text_and_never_markup(tmp_path):
    run(tmp_path / "<script>alert(1)</script>", [row(value=0.5, settings={"data": "<b>bold</b>"})])
    text = page_of(tmp_path)
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "&lt;script&gt;" in text


def test_words_between_backticks_are_code_and_verdicts_are_coloured(tmp_path):
    text = page_of(folder_of(tmp_path))
    assert "It falls as <code>eps</code> grows." in text
    assert '<span class="verdict bad">masked</span>' in text


def test_the_same_files_give_the_same_page(tmp_path):
    assert page_of(folder_of(tmp_path)) == page_of(tmp_path)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven by selenium; Debian's packages chromium and chromium-driver."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (the test extra has it)")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("there is no chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.mark.slow
def test_in_a_browser_tables_sort_parts_unfold_and_nothing_runs_over(browser, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(page_of(folder_of(tmp_path / "runs")), encoding="utf-8")
    browser.get(page.as_uri())
    table = browser.find_element("css selector", "#accuracy table")

    def names():
        return [cell.text for cell in table.find_elements("css selector", "tbody th")]

    def click(column):
        head = table.find_elements("css selector", "thead th")[column]
        head.find_element("tag name", "button").click()
        return head.get_attribute("aria-sort"), names()

    assert names() == ["first", "second", "third"]
    assert click(1) == ("descending", ["third", "first", "second"])  # numbers: the largest first
    assert click(1) == ("ascending", ["second", "first", "third"])
    assert click(2) == ("descending", ["first", "second", "third"])  # a gap is last either way
    assert click(2) == ("ascending", ["second", "first", "third"])
    assert click(0) == ("ascending", ["first", "second", "third"])
    assert table.find_elements("css selector", "[aria-sort]")[0].text.startswith("network")

    evidence = browser.find_element("css selector", "#diagnosis details")
    assert not evidence.find_element("tag name", "table").is_displayed()
    evidence.find_element("tag name", "summary").click()
    assert evidence.find_element("tag name", "table").is_displayed()

    figure = browser.find_element("css selector", "#analyses svg")
    assert figure.is_displayed()
    assert figure.size["width"] > 300
    for link in browser.find_elements("css selector", "nav a"):
        link.click()
        target = link.get_attribute("href").partition("#")[2]
        assert browser.execute_script(
            "return document.getElementById(arguments[0]).getBoundingClientRect().top < innerHeight", target
        )
    for width in (360, 1280):
        browser.set_window_size(width, 800)
        inside = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert inside[0] <= inside[1]
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_in_a_browser_the_page_follows_light_and_dark_with_enough_contrast(browser, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(page_of(folder_of(tmp_path / "runs")), encoding="utf-8")
    browser.get(page.as_uri())
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        paper = _luminance(_colour(browser, "body", "backgroundColor"))
        assert (paper > 0.5) == (scheme == "light")
        for place in ("p", "h1", "th button", "td", "caption", ".verdict", "a", "svg text"):
            ink = _luminance(_colour(browser, place, "fill" if place == "svg text" else "color"))
            light, dark = max(ink, paper), min(ink, paper)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, place)  # WCAG 2.2, AA


def _colour(browser, place, what):
    element = browser.find_element("css selector", place)
    told = browser.execute_script("return getComputedStyle(arguments[0])[arguments[1]]", element, what)
    return [int(number) for number in re.findall(r"\d+", told)[:3]]


def _luminance(colour):
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.slow
def test_on_paper_everything_unfolds(browser, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(page_of(folder_of(tmp_path / "runs")), encoding="utf-8")
    browser.get(page.as_uri())
    browser.execute_cdp_cmd("Page.printToPDF", {})
    folded = browser.execute_script(
        "return [...document.querySelectorAll('details')].filter((part) => !part.open).length"
    )
    assert folded == 0


def test_twelve_networks_make_a_page_below_five_megabytes(tmp_path):
    for i in range(12):
        run(
            tmp_path / f"network-{i}",
            [row(value=i / 12), row("accuracy under autoattack", i / 24, settings=AUTOATTACK)],
        )
        diagnosis(tmp_path / f"network-{i}" / "d.json")
        analysis(tmp_path / f"network-{i}", "eps")
    assert len(page_of(tmp_path)) < 5_000_000
