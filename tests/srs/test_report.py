import html.parser
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import report_run
from hypothesis import given, settings
from hypothesis import strategies as st
from report_run import RunBuilder, task

from srs import report, taskview
from srs.types import Task, UserError

ROOT = Path(__file__).parents[2]
INTERVALS = {1: 40, 2: 22, 4: 13, 15: 3}
MEBIBYTE = 2**20
HOSTILE = (
    "</code></pre></details><script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"'><svg onload=document.title='owned'>",
    "<!-- <iframe src=javascript:document.title='owned'>",
    "{{ 7 * 7 }}{% raw %}${document.title='owned'}",
    "<style>* { display: none }</style><base href='http://evil.invalid/'>",
    "x = '\u202e' # \x00 \x1b[31m \ud800 \ufeff & &amp; &#60;b&#62;",
)


class Page(html.parser.HTMLParser):
    """What a browser would make of the file: elements with their attributes, and all <code> texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.codes: list[str] = []
        self._text: list[str] = []
        self._in_code = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "code":
            self._in_code = True
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_code = self._in_code and tag != "code"

    def handle_data(self, data: str) -> None:
        self._text.append(data)
        if self._in_code:
            self.codes[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text).split())

    def tasks(self) -> list[dict[str, str | None]]:
        return [
            attributes
            for tag, attributes in self.elements
            if tag == "details" and attributes.get("class") == "task"
        ]


def assert_harmless(text: str) -> Page:
    """Only our one script, no event handlers, nothing that loads, no foreign elements."""
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert not {"img", "iframe", "base", "link", "object", "embed"} & set(tags)
    assert tags.count("style") == 1
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "action", "srcset"}:
                assert (value or "").startswith("#"), (tag, name, value)
            assert all(u.startswith("#") for u in re.findall(r"url\(([^)]*)", value or "")), value
    styles = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert styles
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]
    return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a finished run of ten rounds."""
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    return report.write(run_dir, tasks=report_run.complete(run_dir), intervals=INTERVALS)


def hostile_run(run_dir: Path, texts: tuple[str, ...] = HOSTILE) -> dict[str, Task]:
    """A run in which questions, ids, code and details are all ``texts``."""
    run = RunBuilder(run_dir, rounds=1, n=1)
    tasks = [task(i, id=f"{text}_{i}", question=text) for i, text in enumerate(texts)]
    for number, text in enumerate(texts, 1):
        run.add_round(number, tasks, completion=text, detail=text)
    return {t.id: t for t in tasks}


def test_a_finished_run_shows_every_part(finished: Path) -> None:
    page = assert_harmless(finished.read_text(encoding="utf-8"))
    text = page.text
    for expected in (
        "10 of 10 rounds",
        "Held-out pass@1, base 31.0% 95% interval [25.0, 37.0]",
        "Held-out pass@1, final (dpo) 55.0%",
        "+24.0 points 95% interval [+18.1, +29.9], excludes 0",
        "66 / 8 McNemar's exact test, p < 0.001",
        "66 held-out tasks fixed",
        "8 held-out tasks broken",
        "240 held-out tasks",
        "40 preference pairs",
        "1 task dropped before the run",
        "reference: timeout",
        "the network, other users",
        "80 tasks tried",
    ):
        assert expected in text
    assert "Not yet" not in text
    assert [tag for tag, _ in page.elements].count("svg") == 6
    assert len(page.tasks()) == 80


def test_settings_that_differ_from_the_defaults_are_marked(finished: Path) -> None:
    rows = re.findall(
        r'<tr( class="changed")?><th scope="row">(\w+)</th>', finished.read_text(encoding="utf-8")
    )
    assert {key for changed, key in rows if changed} == {"tasks_per_round", "lora_r"}
    assert len(rows) > 40


def test_identical_candidates_are_shown_once_with_the_reason_they_failed(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", n=5)
    run.add_round(1, [task(1)], completion="def solve(v):\n    return v\n", detail="assert 1 == 2")
    page = Page(report.write(run.path, tasks={}, intervals={}).read_text(encoding="utf-8"))
    assert page.codes.count("def solve(v):\n    return v\n") == 1
    assert page.codes.count("assert 1 == 2") == 1
    assert "\u00d7 5 the same" in page.text
    assert "wrong answer" in page.text
    assert "Round 1 · 0 of 5 passed · written by base" in page.text


def test_every_stage_of_a_run_has_a_report(tmp_path: Path) -> None:
    """Before the first round, while a round is being graded, and after numbers have skipped."""
    run = RunBuilder(tmp_path / "run")

    def text() -> str:
        path = report.write(run.path, tasks={}, intervals={})
        return assert_harmless(path.read_text(encoding="utf-8")).text

    assert text().count("Not yet") >= 11
    run.add_round(0)
    run.add_round(1, [task(1)])
    (run.path / "rounds/0002").mkdir()
    shutil.copy(run.path / "rounds/0001/candidates.jsonl", run.path / "rounds/0002")
    between = text()
    assert "1 of 10 rounds · 1 tasks tried · 5 candidates graded" in between
    assert "not finished yet" in between
    assert "Round 2" not in between
    shutil.rmtree(run.path / "rounds/0002")
    run.add_round(9, [task(1)])
    assert "2 of 10 rounds (numbered to 9: rounds with nothing due are skipped)" in text()


def test_tasks_that_are_not_known_any_more_appear_by_id(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run")
    run.add_round(1, [task(1), task(2)])
    path = report.write(run.path, tasks={"Tiny_1_I": task(1)}, intervals={})
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.tasks()) == 2
    assert page.text.count("The task's text is not available here.") == 1


def test_hostile_texts_are_shown_and_do_nothing(tmp_path: Path) -> None:
    run_dir = tmp_path / '<b>run\' & "co"'
    tasks = hostile_run(run_dir)
    text = report.write(run_dir, tasks=tasks, intervals=INTERVALS).read_text(encoding="utf-8")
    page = assert_harmless(text)
    shown = set(page.codes)
    for hostile in HOSTILE[:-1]:
        assert hostile in shown
    assert "x = '\\u202e' # \\x00 \\x1b[31m \\ud800 \\ufeff & &amp; &#60;b&#62;" in shown
    assert not taskview.CONTROL.search(text)


texts = st.text(st.characters(codec=None) | st.sampled_from("<>&\"'\x00\r\n\ud800\u202e`{}%"))


@given(texts, st.integers(0, 40))
def test_visible_text_hides_nothing_and_says_what_it_cut(text: str, limit: int) -> None:
    result = taskview.visible(text, limit)
    assert not taskview.CONTROL.search(result.shown)
    result.shown.encode("utf-8")
    assert result.cut == max(0, len(text) - limit)
    if text.isalnum() and not result.cut:
        assert result.shown == text


@settings(max_examples=12, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4).map(tuple))
def test_whatever_is_written_comes_out_as_text(written: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tasks = hostile_run(Path(folder) / "run", written)
        (Path(folder) / "run/metrics.jsonl").unlink()  # no plots: quicker
        path = report.write(Path(folder) / "run", tasks=tasks, intervals={})
        page = assert_harmless(path.read_text(encoding="utf-8"))
    for text in written:
        shown = taskview.visible(text, taskview.MAX_TEXT).shown
        if shown:
            assert shown in page.codes


def test_size_is_bounded_and_the_page_says_what_is_missing(tmp_path: Path) -> None:
    """300 tasks whose candidates take 70 MB once escaped: under 10 MB, the newest round first."""
    tasks = [task(i, question="<" * 20_000) for i in range(300)]
    run = RunBuilder(tmp_path / "run", n=4)
    run.add_round(1, tasks, completion="<" * 20_000)
    run.add_round(2, tasks[:5], completion="newest " + "&" * 9_000)
    path = report.write(run.path, tasks={t.id: t for t in tasks}, intervals={})
    assert path.stat().st_size < 10 * MEBIBYTE
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.tasks()) == 300
    assert sum(code.startswith("newest ") for code in page.codes) >= 5
    assert "8,000 more characters left out" in text
    assert re.search(r"For \d+ tasks the candidates are left out", page.text)


def test_a_task_shows_its_latest_rounds(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", n=1)
    for number in range(1, 41):
        run.add_round(number, [task(1)], completion=f"answer {number}", detail="no")
    text = report.write(run.path, tasks={}, intervals={}).read_text(encoding="utf-8")
    codes = [code for code in Page(text).codes if code.startswith("answer")]
    assert codes == [f"answer {n}" for n in range(40, 40 - taskview.MAX_ANSWERS, -1)]
    assert "20 of 40 rounds left out" in text
    assert text.count('<i class="s0">') == taskview.MAX_HISTORY + 1  # and the legend's


def test_a_long_run_is_drawn_as_areas(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", rounds=500)
    for number in range(1, 501):
        run.add_round(number)
    path = report.write(run.path, tasks={}, intervals={n: n for n in range(1, 200)})
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < MEBIBYTE
    assert "100 older rounds left out" in text
    assert "64-127" in text  # intervals grouped by doubling


def test_a_damaged_run_leaves_the_old_report_as_it_was(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run")
    run.add_round(1, [task(1)])
    path = report.write(run.path, tasks={}, intervals={})
    before = path.read_bytes()
    verdicts = (run.path / "rounds/0001/verdicts.jsonl").read_text(encoding="utf-8")
    damage: Mapping[str, tuple[str, str]] = {
        "metrics.jsonl": ('{"round": 1}\n', r"metrics\.jsonl:1: not a RoundRecord"),
        "rounds/0001/verdicts.jsonl": (
            verdicts.split("\n")[0],
            r"verdicts\.jsonl: damaged: no verdict for",
        ),
        "evaluation/base.json": ('{"policy": "base"}', r"base\.json: damaged: not an evaluation"),
        "environment.json": ("{", r"environment\.json: damaged"),
    }
    for name, (text, message) in damage.items():
        target = run.path / name
        target.parent.mkdir(exist_ok=True)
        good = target.read_text(encoding="utf-8") if target.exists() else None
        target.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            report.write(run.path, tasks={}, intervals={})
        if good is None:
            target.unlink()
        else:
            target.write_text(good, encoding="utf-8")
    assert path.read_bytes() == before
    assert not list(run.path.rglob("*.partial"))


def test_a_report_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run")
    (run.path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html: cannot be written"):
        report.write(run.path, tasks={}, intervals={})
    assert not list(run.path.rglob("*.partial"))


def test_the_plot_for_the_readme(finished: Path, tmp_path: Path) -> None:
    report.save_plot(finished.parent, tmp_path / "plot.svg")
    report.save_plot(finished.parent, tmp_path / "plot.png")
    svg = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert re.findall(r">(3\d\.\d%)<", svg)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"name a \.svg or a \.png"):
        report.save_plot(finished.parent, tmp_path / "plot.jpg")
    empty = RunBuilder(tmp_path / "empty")
    with pytest.raises(UserError, match="no held-out evaluation"):
        report.save_plot(empty.path, tmp_path / "none.png")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "srs.report", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_the_command_rebuilds_a_report_from_the_directory_alone(tmp_path: Path) -> None:
    """Tasks come from the config's source, intervals from the memory; without the source, ids."""
    from memory.store import Store
    from scheduler.policies import policy
    from srs.types import Review

    rows = [
        {
            "question_id": f"Demo_{i}_I",
            "question": f"Question number {i}, all of it.",
            "solution": f"def f{i}(x):\n    return x + {i}\n",
            "test": f"from solution import f{i}\n\ndef test_a():\n    assert f{i}(1) == {i + 1}\n",
            "test_info": [{"function_name": f"f{i}", "function_declaration": f"def f{i}(x):"}],
            "style": "instruct",
            "subset": "Demo",
        }
        for i in range(20)
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = RunBuilder(tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    config["tasks"]["source"] = str(source)
    (run.path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ids = [row["question_id"] for row in rows]
    run.add_round(1, [task(i, id=str(id)) for i, id in enumerate(ids)])
    with Store.open(run.path / "memory.sqlite") as store:
        store.add_tasks(map(str, ids))
        reviews = [Review(task=str(id), round=1, n_passed=0, n_graded=5) for id in ids]
        store.record(1, reviews, policy("sm2").update)

    done = command("--run", run.path, "--plot", tmp_path / "plot.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(run.path / "report.html")
    text = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Question number 7, all of it." in text
    assert "interval, rounds" in text
    assert (tmp_path / "plot.svg").exists()

    source.unlink()
    done = command("--run", run.path)
    assert done.returncode == 0
    assert "tasks are shown by id only" in done.stderr
    assert "not available here" in (run.path / "report.html").read_text(encoding="utf-8")


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    done = command("--run", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"srs.report: {tmp_path}: no run here (no config.json); name a run directory\n"
    )


def test_importing_the_report_loads_nothing_heavy() -> None:
    heavy = "{'matplotlib', 'jinja2', 'torch', 'pydantic', 'datasets'}"
    code = f"import sys, srs.report, srs.progress; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


# ---- in a real browser ----


@pytest.fixture(scope="module")
def browser() -> str:
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium here, and CI must check the report in one")
        pytest.skip("no Chromium here to open the report in")
    return found


def chromium(browser: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", f"--user-data-dir={profile}", *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    return done.stdout


def shown_tasks(browser: str, path: Path, fragment: str = "") -> tuple[Page, int]:
    page = Page(chromium(browser, "--dump-dom", path.as_uri() + fragment))
    return page, sum("hidden" not in attributes for attributes in page.tasks())


def test_the_task_filter_follows_the_address(browser: str, finished: Path) -> None:
    page, shown = shown_tasks(browser, finished)
    assert shown == len(page.tasks()) == 80
    page, shown = shown_tasks(browser, finished, "#q=STRING%20example")
    assert shown == 27  # numbers 1, 4, 7, … of 80
    assert "27 of 80 shown" in page.text
    page, shown = shown_tasks(browser, finished, "#show=all")
    states = [t["data-state"] for t in page.tasks() if "hidden" not in t]
    assert 0 < shown < 80
    assert set(states) == {"all"}
    page, shown = shown_tasks(browser, finished, "#q=Tiny_42_I")
    assert [("open" in t) for t in page.tasks() if "hidden" not in t] == [True]


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A web server that writes down what is asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_nothing_a_candidate_wrote_runs_or_loads(
    browser: str, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    address, asked = listener
    loading = (
        f"<img src='{address}/image'><link rel=stylesheet href='{address}/style'>",
        f"</style><style>@import url({address}/import);</style><script src={address}/script></script>",
    )
    tasks = hostile_run(tmp_path / "run", (*HOSTILE, *loading))
    path = report.write(tmp_path / "run", tasks=tasks, intervals=INTERVALS)
    page, shown = shown_tasks(browser, path)
    assert "run · training report" in page.text
    assert not any(tag in {"img", "iframe", "link", "base"} for tag, _ in page.elements)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert shown == len(HOSTILE) + len(loading)
    assert asked == []


def test_the_policy_of_the_page_stops_what_escaping_would_have_missed(
    browser: str, finished: Path, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    """The second line of defence, tried by injecting into the file itself."""
    address, asked = listener
    injected = (
        "<script>document.title='owned'</script>"
        f"<img src='{address}/image' onerror=\"document.title='owned'\">"
    )
    text = finished.read_text(encoding="utf-8").replace("<footer>", injected + "<footer>")
    (tmp_path / "injected.html").write_text(text, encoding="utf-8")
    dom = chromium(browser, "--dump-dom", (tmp_path / "injected.html").as_uri())
    assert "<title>finished · training report</title>" in dom
    assert asked == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 10)), max_size=50))
def test_a_report_is_written_again_in_a_share_of_the_time(steps: list[tuple[float, float]]) -> None:
    """``steps``: seconds of a round, and of writing the report after it."""
    refresh = report.Refresh(share=0.1)
    now = writing = 0.0
    for round_s, write_s in steps:
        now += round_s
        if refresh.is_stale(now):
            refresh.took(now, now + write_s)
            now += write_s
            writing += write_s
            last = write_s
    assert writing == 0 or writing - last <= 0.1 * now + 1e-6


def test_the_first_report_is_written_at_once() -> None:
    refresh = report.Refresh(share=0.05)
    assert refresh.is_stale(0.0)
    refresh.took(0.0, 1.0)
    assert not refresh.is_stale(19.9)
    assert refresh.is_stale(20.1)


@pytest.mark.parametrize(("scheme", "is_light"), [("1", True), ("0", False)])
def test_light_and_dark(
    browser: str, finished: Path, tmp_path: Path, scheme: str, is_light: bool
) -> None:
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    chromium(
        browser,
        f"--screenshot={shot}",
        "--window-size=1000,900",
        "--hide-scrollbars",
        f"--blink-settings=preferredColorScheme={scheme}",
        finished.as_uri(),
    )
    image = imread(shot)[:, :, :3]
    corner = float(image[:20, :20].mean())
    assert (corner > 0.8) if is_light else (corner < 0.2)
    assert image.std() > 0.05  # something is drawn
