"""Sheets for people: written, filled in (the HTML one in a real browser), and read back."""

from __future__ import annotations

import csv
import html.parser
import io
import json
from pathlib import Path

import browser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.comments.records import CommentTask
from evaluator.issues.records import Answer, IssueTask
from evaluator.judging import sheet_page
from evaluator.judging.rubric import Kind
from evaluator.judging.sheets import Item, comment_item, issue_item, read, to_csv
from srs.types import UserError

HOSTILE = (
    "</pre></article><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"'><svg onload=document.title='owned'>",
    "<style>* { display: none }</style><base href='http://evil.invalid/'>",
    "\n\u202e \x00 \x1b[31m \ud800 \ufeff & &amp; &#60;b&#62;",
)


def issue(number: int, answer: str = "Update it") -> Item:
    task = IssueTask(
        id=f"i{number}", title=f"Issue {number}", body="It crashes", answers=(Answer(body="Wait"),)
    )
    return issue_item(task, answer)


ITEMS = [issue(n) for n in range(4)]
COMMENTS = [comment_item(CommentTask(id=f"c{n}", code="x = 1"), "x = 1  # one") for n in range(2)]


def filled(text: str, values: dict[str, str], *, delimiter: str = ",", note: str = "") -> str:
    """A CSV sheet with the rater's columns filled in: id → value of every field."""
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    n_fields = len(rows[0]) - rows[0].index("Answer") - 2
    for row in rows[1:]:
        row[-1] = note
        row[-1 - n_fields : -1] = [values.get(row[0], "")] * n_fields
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_sheet_comes_back(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "sheet.csv"
    text = filled(to_csv(ITEMS, "issues"), {"i0": "yes", "i1": "No", "i3": " yes "}, delimiter=delimiter, note="so, so")  # fmt: skip
    path.write_text("\ufeff" + text, encoding="utf-8", newline="")
    found, missing = read(path, ITEMS, "issues", "ann")
    assert [(j.id, j.rater, j.values, j.note) for j in found] == [
        ("i0", "ann", {"correct": 1}, "so, so"),
        ("i1", "ann", {"correct": 0}, "so, so"),
        ("i3", "ann", {"correct": 1}, "so, so"),
    ]
    assert missing == ["i2"]


@pytest.mark.parametrize(
    "id",
    ["0012", "12", "1e5", ".5", "-3", "2024-01-02", "1/2", "$5", "(5)", "50%", "TRUE", "false", "MAR1", "dec-12",
     "=1", "'quoted", "i0", "comment-0123"],
)  # fmt: skip
def test_ids_that_look_like_numbers_come_back(tmp_path: Path, id: str) -> None:
    """Also from a program that takes the apostrophe as its sign for text, and drops it."""
    item = Item(id=id, shown=(("Issue", "x"), ("Answers by people", "y"), ("Answer", "z")))
    rows = list(csv.reader(io.StringIO(to_csv([item], "issues").removeprefix("\ufeff"))))
    written = rows[1][0]
    assert written == (id if id in ("i0", "comment-0123") else f"'{id}")
    path = tmp_path / "sheet.csv"
    path.write_text(filled(to_csv([item], "issues"), {written: "yes"}), encoding="utf-8")
    assert [j.id for j in read(path, [item], "issues", "ann")[0]] == [id]
    if not id.startswith("'"):
        path.write_text(path.read_text(encoding="utf-8").replace(written, id), encoding="utf-8")
        assert [j.id for j in read(path, [item], "issues", "ann")[0]] == [id]


def test_a_check_is_no_number_and_older_sheets_count(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    text = filled(to_csv(ITEMS, "issues"), {item.id: "yes" for item in ITEMS})
    for item in ITEMS:
        assert item.check[0].isalpha()
        assert item.check in text
        text = text.replace(item.check, item.check[1:])  # as they were written
    path.write_text(text, encoding="utf-8")
    found, missing = read(path, ITEMS, "issues", "ann")
    assert ([j.id for j in found], missing) == ([item.id for item in ITEMS], [])
    path.write_text(text.replace(ITEMS[0].check[1:], ITEMS[1].check[1:]), encoding="utf-8")
    with pytest.raises(UserError, match="i0: the task or its answer has changed"):
        read(path, ITEMS, "issues", "ann")


def test_a_sheet_of_comments(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text(filled(to_csv(COMMENTS, "comments"), {"c0": "7"}), encoding="utf-8")
    found, missing = read(path, COMMENTS, "comments", "ann")
    assert found[0].values == {"logic": 7, "accuracy": 7, "format": 7}
    assert missing == ["c1"]


def test_every_bad_row_is_named_and_none_counts(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    text = filled(to_csv([*ITEMS, issue(9)], "issues"), {"i0": "maybe", "i1": "yes", "i9": "no"})
    lines = text.splitlines()
    text = "\n".join([*lines, lines[-4].replace("yes", "no")])
    path.write_text(text, encoding="utf-8")
    changed = [*ITEMS[:3], issue(3, "another answer")]
    with pytest.raises(UserError) as caught:
        read(path, changed, "issues", "ann")
    said = str(caught.value)
    for part in ("'maybe' is none of no, yes", "unknown id 'i9'", "i3: the task or its answer has changed"):  # fmt: skip
        assert part in said


def test_a_repeated_id_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    text = filled(to_csv(ITEMS[:1], "issues"), {"i0": "yes"})
    path.write_text(text + text.split("\r\n", 1)[1], encoding="utf-8")
    with pytest.raises(UserError, match="'i0' is there already"):
        read(path, ITEMS, "issues", "ann")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("s.csv", "a,b\n1,2\n", "no column id, check, correct, note"),
        ("s.csv", "", "no column"),
        ("s.csv", 'id,check,correct,note\n"open', "not a CSV file"),
        ("s.json", "{", "not what an HTML sheet saves"),
        ("s.json", "[]", "not what an HTML sheet saves"),
        ("s.json", '{"format": "srs-verdicts-1", "kind": "comments"}', "a sheet of comments"),
        ("s.json", '{"format": "srs-verdicts-1", "kind": "issues", "rater": "", "verdicts": []}', "--rater"),
    ],
)  # fmt: skip
def test_files_that_are_no_sheet(tmp_path: Path, name: str, content: str, why: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=why):
        read(tmp_path / name, ITEMS, "issues", "ann" if name.endswith("csv") else "")


def test_a_sheet_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the sheet"):
        read(tmp_path / "none.csv", ITEMS, "issues", "ann")
    (tmp_path / "latin.csv").write_bytes(b"id,check\n\xe4")
    with pytest.raises(UserError, match="CSV UTF-8"):
        read(tmp_path / "latin.csv", ITEMS, "issues", "ann")


@pytest.mark.parametrize("answer", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(answer: str) -> None:
    rows = list(csv.reader(io.StringIO(to_csv([issue(0, answer)], "issues").removeprefix("\ufeff"))))  # fmt: skip
    assert rows[1][rows[0].index("Answer")] == f"'{answer}"


def test_long_cells_are_cut_and_say_so() -> None:
    rows = list(csv.reader(io.StringIO(to_csv([issue(0, "x" * 40_000)], "issues"))))
    assert len(rows[1][-3]) < 32_767
    assert "8,000 more characters" in rows[1][-3]


texts = st.text(st.characters(codec=None) | st.sampled_from("<>&\"'\x00\r\n\ud800,;="))


class Page(html.parser.HTMLParser):
    """Elements, and the text of each <pre>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "pre":
            self.shown.append("")

    def handle_data(self, data: str) -> None:
        if self.shown and self.tags[-1] == "pre":
            self.shown[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self.tags.append("/pre")


def assert_harmless(text: str) -> Page:
    page = Page(text)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert not {"img", "iframe", "base", "link", "object", "embed", "svg", "a"} & set(page.tags)
    assert not [a for a in page.attributes if a[0].startswith("on") or a[0] in ("src", "href")]
    assert not sheet_page.HIDDEN.search(text.replace("\n", ""))
    return page


@settings(deadline=None)
@given(texts)
def test_whatever_was_answered_is_shown_as_text(answer: str) -> None:
    page = assert_harmless(sheet_page.render([issue(0, answer)], "issues"))
    assert len(page.shown) == 3
    if answer.isprintable():
        assert page.shown[2] == f"\n{answer}"


@pytest.mark.parametrize("kind", ["issues", "comments"])
def test_the_html_sheet_is_harmless(kind: Kind) -> None:
    items = [Item(id=f"<b>{i}", shown=((t, t), (t, t))) for i, t in enumerate(HOSTILE)]
    text = sheet_page.render(items, kind)
    text.encode("utf-8")
    assert_harmless(text)


def test_the_html_sheet_in_a_browser(tmp_path: Path) -> None:
    """Opened from the disk, filled in, closed, opened again with all of it there, saved, and read back."""
    items = [*(issue(i, text) for i, text in enumerate(HOSTILE)), issue(7)]
    sheet = tmp_path / "sheet #1.html"
    sheet.write_text(sheet_page.render(items, "issues"), encoding="utf-8")
    saved = tmp_path / "verdicts.json"

    def click(place: int, value: str) -> str:
        return f"document.querySelectorAll('article')[{place}].querySelector('input[value={value}]').click()"  # fmt: skip

    with browser.browsing(browser.found(), tmp_path) as page:
        page.open(sheet.as_uri())
        assert page.run("document.title") == "Verdicts on 6 answers"
        assert page.run("document.querySelectorAll('pre')[2].textContent") == HOSTILE[0]
        assert page.run("document.querySelector('output').textContent") == "0 of 6 judged"
        page.run("document.getElementById('save').click()")
        assert page.run("document.querySelector('output').textContent") == "Your name first"
        page.run("document.getElementById('rater').value = 'Ann <b>'")
        for place, value in ((0, "yes"), (1, "no"), (5, "no"), (5, "yes")):
            page.run(click(place, value))
        assert page.run("document.querySelector('output').textContent") == "3 of 6 judged"
        page.open(sheet.as_uri())
        assert page.run("document.querySelector('output').textContent") == "3 of 6 judged"
        page.run("document.querySelector('article:nth-of-type(2) textarea').value = 'why\\nnot'")
        page.run("document.getElementById('save').click()")
        page.wait(lambda: saved.exists() and saved.stat().st_size > 0)
        assert page.run("document.title") == "Verdicts on 6 answers"
    found, missing = read(saved, items, "issues", "")
    assert [(j.id, j.rater, j.values, j.note) for j in found] == [
        ("i0", "Ann <b>", {"correct": 1}, ""),
        ("i1", "Ann <b>", {"correct": 0}, "why\nnot"),
        ("i7", "Ann <b>", {"correct": 1}, ""),
    ]
    assert missing == ["i2", "i3", "i4"]
    assert json.loads(saved.read_text())["kind"] == "issues"
