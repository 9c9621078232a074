import importlib
import json
import statistics
from pathlib import Path

import pytest

from memory.store import Store
from scheduler import sm2

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)


def test_the_file_that_is_timed_is_a_real_memory(tmp_path: Path) -> None:
    """Its cards are the replay of its log, and its counts those of its cards."""
    filled = importlib.import_module("filled_memory")
    last = filled.LAST_ROUND

    def state(memory: Store) -> object:
        cards = [memory.card(task) for task in tasks]
        rounds = [memory.result(r) for r in range(last + 1)]
        return cards, rounds, memory.counts(), memory.intervals(), memory.n_due(last)

    path = tmp_path / "memory.sqlite"
    filled.build(path, 2_000)
    with Store.open(path) as memory:
        tasks = [task for task, _ in memory.anywhere(1, 2_000)]
        assert len(set(tasks)) == 2_000
        before = state(memory)
        counts = memory.counts()
        assert counts["new"] == 2_000 * (1 - filled.REVIEWED_SHARE)
        assert min(counts.values()) > 0
        assert memory.rebuild(sm2.update) == 2_000 * filled.REVIEWED_SHARE
        assert state(memory) == before
        assert memory._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert memory._db.execute("SELECT max(nth), count(nth) FROM cards").fetchone() == (600, 600)


def test_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--sizes", "4000", "--rounds", "2", "--visits", "2"]
    main = importlib.import_module("bench_memory").main
    assert main([*arguments, "--folder", str(tmp_path), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    [size] = found["sizes"]
    assert (found["rounds"], found["visits"], size["n_tasks"]) == (2, 2, 4_000)
    assert len(size["round_ms"]) == len(size["no_sync_ms"]) == len(size["json"]["round_ms"]) == 4
    for both, plan, record in zip(
        size["round_ms"], size["plan_ms"], size["record_ms"], strict=True
    ):
        assert both == pytest.approx(plan + record)
    ours, theirs = (statistics.median(x["round_ms"]) for x in (size, size["json"]))
    assert size["ratio"] == pytest.approx(theirs / ours)
    assert size["file_mib"] > 0.1
    assert all(10 < rss < 200 for rss in size["rss_mib"])
    printed = capsys.readouterr().out
    assert f"{ours:.1f}" in printed
    assert "retired" in printed
    assert [p.name for p in tmp_path.iterdir()] == ["bench.json"]
