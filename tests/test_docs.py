"""The documentation cannot rot: its examples are run, and its tables of columns are held against the catalogue."""

import doctest
import io
import re
from pathlib import Path

import pytest

from assets.metrics.summary import MEASURES
from quality.catalog.marts import TABLES
from quality.catalog.model import Column, Table

METRICS = Path(__file__).resolve().parents[1] / "docs" / "metrics"
PAGES = sorted(METRICS.glob("*.md"))
EXAMPLES = sorted(METRICS.parent.glob("examples/*.md"))
WITHOUT_EXAMPLE = {"index", "truth-recovery"}
"""A list of pages, and a table that a command writes."""
PART = re.compile(r"_(low|high|n|note)$")
CONTEXT = {
    "as_of",
    "account_id",
    "person_id",
    "platform",
    "post_id",
    "url",
    "kind",
    "published_at",
    "week",
    "month",
    "date",
}
"""Columns that say of whom, where and when a row speaks: explained once, in the index and the glossary."""


def examples(page: Path) -> str:
    """The page with everything but its Python blocks blank, so that a failure names the page's own line."""
    lines, is_code = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        is_fence = line.startswith("```")
        is_code = line.startswith("```python") if is_fence else is_code
        lines.append(line if is_code and not is_fence else "")
    return "\n".join(lines) + "\n"


def measures(table: Table) -> set[str]:
    """Columns of a mart that say something: without keys, context, and the parts of a measure (interval, n, note)."""
    names = set(table.column_names)
    return {
        name for name in names - set(table.key) - CONTEXT if not (PART.search(name) and PART.sub("", name) in names)
    }


def rows() -> list[list[str]]:
    """The cells of the index's table of metrics."""
    lines = (METRICS / "index.md").read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `mart_")]


def listed() -> dict[tuple[str, str], list[str]]:
    """The row of each mart column that the index names; a row may name several of one mart."""
    found = {}
    for row in rows():
        mart, first = re.findall(r"`(mart_\w+)\.(\w+)`", row[0])[0]
        for name in (first, *re.findall(r"`([a-z0-9_]+)`", row[0])):
            assert (mart, name) not in found, f"{mart}.{name} has two rows"
            found[mart, name] = row
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_examples_give_what_the_page_says(page: Path) -> None:
    test = doctest.DocTestParser().get_doctest(examples(page), {}, page.stem, str(page), 0)
    assert test.examples or page.stem in WITHOUT_EXAMPLE, "every page of metrics has an example in a ```python block"
    said = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.write)
    assert runner.summarize(verbose=False).failed == 0, said.getvalue()


def test_the_index_lists_every_measure_of_every_mart() -> None:
    wanted = {(table.name, name) for table in TABLES for name in measures(table)}
    assert set(listed()) == wanted, "docs/metrics/index.md has a row for each measure of the marts' catalogue"


def test_the_index_says_which_measures_have_an_interval() -> None:
    columns = {table.name: set(table.column_names) for table in TABLES}
    for (mart, name), row in listed().items():
        assert (f"{name}_low" in columns[mart]) == (row[3] != ""), f"{mart}.{name}: {row[3] or 'no interval'}"


def test_the_page_of_a_measure_explains_it() -> None:
    for (mart, name), row in listed().items():
        page = re.findall(r"\]\(([\w-]+\.md)", row[2])[0]
        text = (METRICS / page).read_text(encoding="utf-8")
        assert all(words in text for words in (f"`{name}`", mart)), f"{page} does not explain {mart}.{name}"


def test_catalogue_columns_are_told_apart() -> None:
    """What counts as a measure here: parts of one do not, a column of the same ending that stands alone does."""
    columns = tuple(Column(name=name, dtype=TABLES[0].columns[0].dtype, doc="d") for name in ("k", "m", "m_low", "x_n"))
    assert measures(Table(name="mart_t", doc="d", grain="g", key=("k",), columns=columns)) == {"m", "x_n"}


def test_the_summary_page_names_every_metric_that_the_summary_restates() -> None:
    text = (METRICS / "summary.md").read_text(encoding="utf-8")
    assert [m.name for m in MEASURES if f"`{m.name}`" not in text] == []


def test_tests_named_on_a_page_exist() -> None:
    known = {
        name
        for file in METRICS.parents[1].glob("tests/**/*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    named = {name for page in PAGES for name in re.findall(r"\b(test_\w+)`", page.read_text(encoding="utf-8"))}
    assert named - known == set()


@pytest.mark.parametrize("page", EXAMPLES, ids=[page.stem for page in EXAMPLES])
def test_real_examples_show_nobody(page: Path) -> None:
    """Neither a name's address nor a pseudonym; every drawing is there and has a sentence."""
    text = page.read_text(encoding="utf-8")
    drawings = {page.parent / path for path in re.findall(r"\]\((\.\./images/[\w-]+\.svg)\)", text)}
    assert drawings
    for content in (text, *(path.read_text(encoding="utf-8") for path in drawings)):
        assert not re.search(r"\b[0-9a-f]{8,}\b", content), "a pseudonym"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", content), "an address"
    captions = re.findall(r"\.svg\)(?:\{[^}]*\})?\n\n\*[^*]+\.\*\n", text)
    assert len(captions) == len(re.findall(r"\.svg\)", text)), "each drawing has one sentence of what it shows"
