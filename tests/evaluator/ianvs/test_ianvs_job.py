"""What the export writes avoids each trap of Ianvs: read from the files, without running them."""

import ast
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from job_tasks import adapter, config, job, task

from evaluator.benchmark_rows import Opening
from evaluator.ianvs_job import TEMPLATES, write_job
from evaluator.ianvs_rows import INLINE_CHARACTERS
from evaluator.ianvs_run import job_of_run, rows_of
from srs.types import Task, UserError, from_json

SYSTEM_METRICS = {"samples_transfer_ratio", "FWT", "BWT", "task_avg_acc", "MATRIX", "forget_rate"}
SEDNA = Path(__file__).parent / "stand_in"


def written(tmp_path: Path, **fields: object) -> Path:
    out = tmp_path / "job"
    write_job(job(**fields), out)  # type: ignore[arg-type]
    return out


def read_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def lines(path: Path) -> list[dict[str, str]]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]  # a blank line would be an error


def test_the_folder_is_the_one_that_was_promised(tmp_path: Path) -> None:
    out = written(tmp_path, rows={"base": None, "dpo": adapter(tmp_path / "a")}, lifelong={"x": 1})
    found = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert found == [
        "README.md",
        "adapters/dpo/adapter_config.json",
        "adapters/dpo/adapter_model.safetensors",
        "benchmarkingjob.yaml",
        "dataset/test_data/data.jsonl",
        "dataset/train_data/data.jsonl",
        "job.json",
        "lifelong.json",
        "testalgorithms/gen/basemodel.py",
        "testalgorithms/gen/gen_algorithm.yaml",
        "testalgorithms/gen/op_eval.py",
        "testenv/acc.py",
        "testenv/testenv.yaml",
    ]
    assert list(tmp_path.glob(".job*")) == []


def test_every_url_is_a_file_relative_to_the_job(tmp_path: Path) -> None:
    out = written(tmp_path)
    benchmarking = read_yaml(out / "benchmarkingjob.yaml")["benchmarkingjob"]
    (algorithm,) = benchmarking["test_object"]["algorithms"]
    module = read_yaml(out / algorithm["url"])["algorithm"]["modules"][0]
    testenv = read_yaml(out / benchmarking["testenv"])["testenv"]
    urls = [module["url"], *testenv["dataset"].values(), *(m["url"] for m in testenv["metrics"])]
    assert len(urls) == 5
    assert all(url.startswith("./") and (out / url).is_file() for url in urls)


def test_the_data_is_named_by_the_keys_that_still_work_and_has_the_keys_that_survive(
    tmp_path: Path,
) -> None:
    out = written(tmp_path, tests={"held_out": [task("T_1_I"), task("T_2_C")]})
    assert set(read_yaml(out / "testenv/testenv.yaml")["testenv"]["dataset"]) == {
        "train_data",
        "test_data",
    }
    for side in ("train_data", "test_data"):
        for row in lines(out / "dataset" / side / "data.jsonl"):
            assert set(row) == {"question", "answer"}
            assert all(isinstance(value, str) for value in row.values())


def test_an_answer_says_which_task_it_is_and_gives_the_whole_of_it(tmp_path: Path) -> None:
    opening = Opening(head="import re\ndef double(x):\n", preamble="import re")
    out = written(tmp_path, openings={"held_out": {"T_1_I": opening}})
    (row,) = lines(out / "dataset/test_data/data.jsonl")
    answer = json.loads(row["answer"])
    assert answer.pop("benchmark") == "held_out"
    assert answer.pop("opening") == dataclasses.asdict(opening)
    assert from_json(Task, answer) == task()
    assert "Start from this declaration" in row["question"]


def test_a_long_test_does_not_widen_every_answer(tmp_path: Path) -> None:
    """NumPy holds texts in an array as wide as the longest, 4 bytes a character."""
    long = "# x\r\n" * INLINE_CHARACTERS
    out = written(tmp_path, tests={"b": [task("T_1_I", test=long), task("T_2_I")]})
    rows = lines(out / "dataset/test_data/data.jsonl")
    assert max(len(row["answer"]) for row in rows) < INLINE_CHARACTERS
    name = json.loads(rows[0]["answer"])["test_file"]
    assert (out / "dataset/test_data" / name).read_bytes().decode() == long


def test_python_files_have_unique_names_that_hide_no_module(tmp_path: Path) -> None:
    names = [p.stem for p in written(tmp_path).rglob("*.py")]
    assert sorted(names) == ["acc", "basemodel", "op_eval"]
    assert not set(names) & set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.py")), ids=lambda p: p.name)
def test_the_adapter_is_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    newer = {"removeprefix", "removesuffix", "is_relative_to", "readlink", "pairwise", "tomllib"}
    used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not used & newer


def python38() -> str | None:
    found = [*Path.home().glob(".pyenv/versions/3.8*/bin/python"), shutil.which("python3.8")]
    for python in filter(None, found):
        if not subprocess.run([str(python), "-V"], capture_output=True, check=False).returncode:
            return str(python)
    return None


@pytest.mark.skipif(python38() is None, reason="no Python 3.8 here to run the adapter with")
def test_the_adapter_runs_on_python_3_8(tmp_path: Path) -> None:
    """Loaded as Ianvs does, with a worker that can't be started: blanks, and nothing raised."""
    out = written(tmp_path)
    script = (
        "import sys\n"
        "sys.path.insert(0, './testalgorithms/gen')\nimport basemodel\nsys.path.pop(0)\n"
        "sys.path.insert(0, './testenv')\nimport acc\nsys.path.pop(0)\n"
        "m = basemodel.SrsCodeModel(adapter='base')\n"
        "assert m.preprocess() is None\nm.train(None)\nassert m.save('out') is None\nm.load('')\n"
        "answers = m.predict(['a', 'b'])\nassert len(answers) == 2, answers\n"
        "print([metric(['x', 'y'], answers) for metric in acc.METRICS.values()])\n"
    )
    ran = subprocess.run(
        [str(python38()), "-c", script],
        cwd=out,
        env={**os.environ, "PYTHONPATH": str(SEDNA), "SRS_PYTHON": "/nonexistent/python"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[nan, nan]\n"
    assert "cannot run /nonexistent/python" in (out / "workspace/output/failure.txt").read_text()


def test_no_alias_comes_twice_and_none_is_a_metric_of_ianvs(tmp_path: Path) -> None:
    out = written(tmp_path, tests={"humaneval": [task("a")], "mbpp": [task("b")]})
    module = read_yaml(out / "testalgorithms/gen/gen_algorithm.yaml")["algorithm"]["modules"][0]
    metrics = read_yaml(out / "testenv/testenv.yaml")["testenv"]["metrics"]
    aliases = [module["name"], *(metric["name"] for metric in metrics)]
    assert aliases == [
        "srs_code_model",
        "pass_at_1",
        "format_error_rate",
        "pass_at_1_humaneval",
        "pass_at_1_mbpp",
    ]
    assert not set(aliases) & SYSTEM_METRICS
    assert f'alias="{module["name"]}"' in (out / module["url"]).read_text()
    assert [m["name"] for m in json.loads((out / "job.json").read_text())["metrics"]] == aliases[1:]


def test_the_rank_section_is_whole_and_tells_rows_apart(tmp_path: Path) -> None:
    rank = read_yaml(written(tmp_path) / "benchmarkingjob.yaml")["benchmarkingjob"]["rank"]
    assert rank["sort_by"] == [{"pass_at_1": "descend"}]
    assert rank["visualization"] == {"mode": "selected_only", "method": "print_table"}
    assert rank["save_mode"] == "selected_and_all"
    assert rank["selected_dataitem"] == {
        "paradigms": ["all"],
        "modules": ["all"],
        "hyperparameters": ["all"],
        "metrics": ["pass_at_1", "format_error_rate"],
    }


def test_ianvs_does_not_choose_the_devices(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path) / "testenv/testenv.yaml")["testenv"]["use_gpu"] is False


@settings(deadline=None, max_examples=25)
@given(
    names=st.lists(
        st.one_of(
            st.sampled_from(["on", "yes", "e1", "true", "No"]),
            st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,12}", fullmatch=True),
        ),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_rows_stay_the_texts_that_they_were(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """YAML reads a bare ``on`` or ``1e3`` as something else."""
    kept = [
        name for name in names if name.lower() not in ("na", "nan", "null", "none", "nat", "n.a.")
    ]
    out = tmp_path_factory.mktemp("rows") / "job"
    write_job(job(rows=dict.fromkeys(kept)), out)
    module = read_yaml(out / "testalgorithms/gen/gen_algorithm.yaml")["algorithm"]["modules"][0]
    assert module["hyperparameters"] == [{"adapter": {"values": kept}}]


@pytest.mark.parametrize("name", ["", "1", "a b", "a,b", "../up", "nan", "None", "NA"])
def test_names_that_files_or_the_leaderboard_would_change_are_refused(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="--adapter"):
        write_job(job(rows={name: None}), tmp_path / "job")
    assert not (tmp_path / "job").exists()


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        write_job(job(rows={"base": None, "mine": tmp_path}), tmp_path / "job")


def test_full_weights_are_a_row_too(tmp_path: Path) -> None:
    weights = tmp_path / "full"
    weights.mkdir()
    for name in ("config.json", "model.safetensors"):
        (weights / name).write_text("{}")
    out = written(tmp_path, rows={"base": None, "round2": weights})
    assert sorted(p.name for p in (out / "adapters/round2").iterdir()) == ["config.json", "model.safetensors"]  # fmt: skip


@pytest.mark.parametrize("tests", [{}, {"b": []}])
def test_a_job_without_tests_is_refused(tests: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--benchmark"):
        write_job(job(tests=tests), tmp_path / "job")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "job"
    out.mkdir()
    (out / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="--out"):
        write_job(job(), out)
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_a_second_export_keeps_ianvs_results_apart_from_the_new_ones(tmp_path: Path) -> None:
    out = written(tmp_path)
    for n in (1, 2, 3):
        (out / "workspace").mkdir()
        (out / "workspace" / "rank.csv").write_text(str(n))
        write_job(job(rows={"base": None, "dpo": adapter(tmp_path / str(n))}), out)
    assert not (out / "workspace").exists()
    kept = [(out / f"workspace.{n}" / "rank.csv").read_text() for n in (1, 2, 3)]
    assert kept == ["1", "2", "3"]
    assert (out / "adapters/dpo").is_dir()


def test_an_export_that_fails_leaves_the_old_job(tmp_path: Path) -> None:
    out = written(tmp_path)
    before = sorted(p.name for p in out.rglob("*"))
    broken = adapter(tmp_path / "a")
    (broken / "gone.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"gone\.bin"):
        write_job(job(rows={"dpo": broken}), out)
    assert sorted(p.name for p in out.rglob("*")) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "job"]


@pytest.mark.parametrize("named", ["here", "link"])
def test_a_job_named_in_another_way_keeps_ianvs_results_too(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written(tmp_path / "place")
    (out / "workspace").mkdir()
    (out / "workspace" / "rank.csv").write_text("1")
    link = tmp_path / "link"
    link.symlink_to(out)
    monkeypatch.chdir(out)
    write_job(job(device="gpu"), Path() if named == "here" else link)
    monkeypatch.chdir(tmp_path)
    assert json.loads((out / "job.json").read_text())["device"] == "gpu"
    assert (link / "workspace.1" / "rank.csv").read_text() == "1"
    assert [p.name for p in (tmp_path / "place").iterdir()] == ["job"]


def ranks(place: Path) -> list[str]:
    return sorted(p.read_text() for p in place.rglob("rank.csv"))


@pytest.mark.parametrize("refused", ["job", ".partial", "workspace.2"])
def test_results_that_cannot_be_moved_are_not_lost(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written(tmp_path)
    for n in (1, 2):
        (out / f"workspace.{n}").mkdir()
        (out / f"workspace.{n}" / "rank.csv").write_text(str(n))
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if refused in (path.name, path.suffix):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=r"job: .*: Permission denied"):
        write_job(job(device="gpu"), out)
    assert ranks(tmp_path) == ["1", "2"]
    device = json.loads((out / "job.json").read_text())["device"]
    assert device == ("gpu" if refused == "workspace.2" else "cpu")


def test_an_old_job_that_cannot_be_deleted_loses_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written(tmp_path)
    (out / "workspace").mkdir()
    (out / "workspace" / "rank.csv").write_text("1")
    rmtree = shutil.rmtree

    def of_another_user(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        rmtree(path, ignore_errors=True)

    monkeypatch.setattr(shutil, "rmtree", of_another_user)
    with pytest.raises(
        UserError, match=r"the new job is there.* of the old one is in .*\.old: Perm"
    ):
        write_job(job(device="gpu"), out)
    assert (out / "workspace.1" / "rank.csv").read_text() == "1"
    assert json.loads((out / "job.json").read_text())["device"] == "gpu"


def test_a_model_named_from_here_is_found_from_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    for named, kept in (("weights", str(tmp_path / "weights")), ("tiny", "tiny"), ("a/b", "a/b")):
        settings = {**config(), "model": {**config()["model"], "path": named}}
        made = job_of_run(tmp_path, config=settings, held_out=[task()], train=[])
        assert made.config["model"]["path"] == kept


def test_rows_are_base_last_round_and_dpo(tmp_path: Path) -> None:
    assert rows_of(tmp_path) == {"base": None}
    for name in ("0002", "0010", "dpo", "notes"):
        adapter(tmp_path / "adapters" / name)
    folder, lines = tmp_path / "adapters", tmp_path / "metrics.jsonl"
    lines.write_text('{"round": 0}\n{"round": 2}\n')
    assert list(rows_of(tmp_path)) == ["base", "round2", "dpo"], "round 10 is not complete"
    lines.write_text('{"round": 0}\n{"round": 2}\n{"round": 10}\n')
    assert rows_of(tmp_path) == {"base": None, "round10": folder / "0010", "dpo": folder / "dpo"}


def test_the_readme_says_what_is_in_it(tmp_path: Path) -> None:
    readme = (
        written(tmp_path, device="npu", licence="KodCode data: CC BY-NC 4.0") / "README.md"
    ).read_text()
    assert "| rows of the leaderboard | base |" in readme
    assert "| tests | 1 tasks of held_out |" in readme
    assert "SRS_PYTHON" in readme
    assert "CC BY-NC 4.0" in readme
    assert "{{" not in readme
    assert "{%" not in readme
