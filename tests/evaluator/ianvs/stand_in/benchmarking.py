"""A stand-in for Ianvs' single-task path, as small as it can be and as strict: what makes Ianvs fail
makes this fail, at the same point.

Written from the behaviour of kubeedge/ianvs main 1d3da5b and v0.3.0, which was run to compare. Faithful
in: which keys count, how modules load, what a model and a metric are called with, which variables are
set, what is not created, and that one exception throws all results away.

    python benchmarking.py -f benchmarkingjob.yaml [--v0.3.0]
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sedna.common.class_factory import ClassFactory, ClassType

DATASETS = (("train_index", "test_index"), ("train_data", "test_data"))
RANK = ("paradigms", "modules", "hyperparameters", "metrics")


def load_module(url: str) -> None:
    """By base name: a module of that name that is loaded already is taken instead."""
    folder, file = os.path.split(url)
    sys.path.insert(0, folder)
    importlib.import_module(file.split(".")[0])
    sys.path.pop(0)


def read_yaml(url: str) -> Any:
    if not Path(url).is_file():
        raise RuntimeError(f"not found: {url}")
    return yaml.safe_load(Path(url).read_text())


def dataset_files(config: dict[str, str]) -> tuple[str, str]:
    """Of what the config names; ``train_url`` and ``test_url`` don't count."""
    for train, test in DATASETS:
        if train in config and test in config:
            for url in (config[train], config[test]):
                if not Path(url).is_file() and not Path(url).is_absolute():
                    raise ValueError(f"dataset file({url}) is neither here nor absolute")
                if Path(url).suffix not in (".jsonl", ".txt", ".json", ".csv"):
                    raise ValueError(f"dataset file({url}): unknown format")
            return config[train], config[test]
    raise NotImplementedError("not one of train_index, train_data")


def load_data(url: str) -> tuple[Any, Any]:
    """Questions and answers as arrays; other keys are gone, and a blank line is an error."""
    rows = [json.loads(line) for line in Path(url).read_text(encoding="utf-8").split("\n")[:-1]]
    return np.array([r["question"] for r in rows]), np.array([r["answer"] for r in rows])


def hyperparameters(module: dict[str, Any]) -> list[dict[str, Any]]:
    named = [(name, v["values"]) for hp in module["hyperparameters"] for name, v in hp.items()]
    return [
        dict(zip([n for n, _ in named], values, strict=True))
        for values in itertools.product(*(v for _, v in named))
    ]


def run_case(
    module: dict[str, Any], hps: dict[str, Any], config: dict[str, Any], output: str, old: bool
) -> dict[str, Any]:
    load_module(module["url"])
    model = ClassFactory.get_cls(ClassType.GENERAL, module["name"])(**hps)
    if config["testenv"].get("use_gpu", False):
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    if not old and model.preprocess() is not None:
        model.preprocess()
    train, test = dataset_files(config["testenv"]["dataset"])
    os.environ["BASE_MODEL_URL"] = config["algorithm"].get("initial_model_url", "")
    model.train(load_data(train))
    trained = model.save(f"{output}/output/train/")
    os.environ["RESULT_SAVED_URL"] = f"{output}/output/inference/"
    model.load(trained if trained is not None else config["algorithm"].get("initial_model_url", ""))
    predictions = model.predict(load_data(test)[0])
    results = {}
    for metric in config["testenv"]["metrics"]:
        load_module(metric["url"])
        measure = ClassFactory.get_cls(ClassType.GENERAL, metric["name"])
        results[metric["name"]] = measure(load_data(test)[1], predictions)
    return results


def rank(job: dict[str, Any], rows: list[dict[str, Any]], workspace: str, hps: list[str]) -> None:
    settings = job["rank"]  # its absence shows here, after the work
    selected = settings["selected_dataitem"]
    for key in RANK:
        if not selected.get(key):
            raise ValueError(f"not found {key} of selected_dataitem in rank.")
    metrics = selected["metrics"]
    header = ["algorithm", *metrics, "paradigm", "basemodel", *hps, "time", "url"]
    table = pd.DataFrame(columns=header)
    for position, row in enumerate(rows):
        table.loc[position] = row
    folder = Path(workspace) / "rank"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "all_rank.csv").is_file():
        table = pd.concat([pd.read_csv(folder / "all_rank.csv", index_col=0), table])
    by = [(m, order == "ascend") for pair in settings["sort_by"] for m, order in pair.items()]
    table = table.sort_values(by=[m for m, _ in by], ascending=[up for _, up in by])
    shown = table if selected["hyperparameters"] == ["all"] else table.drop(columns=hps)
    shown = shown.drop_duplicates([c for c in shown.columns if c not in ("time", "url")])
    for name, frame in (("all_rank", table), ("selected_rank", shown)):
        frame.index = np.arange(1, len(frame) + 1)
        frame.to_csv(folder / f"{name}.csv", index_label="rank", encoding="utf-8")
    print(shown.to_string())


def main() -> None:
    job = read_yaml(sys.argv[sys.argv.index("-f") + 1])["benchmarkingjob"]
    old = "--v0.3.0" in sys.argv
    workspace = f"{job['workspace']}/{job['name']}"
    testenv = read_yaml(job["testenv"])["testenv"]
    rows, names = [], []
    for entry in job["test_object"]["algorithms"]:
        algorithm = read_yaml(entry["url"])["algorithm"]
        assert algorithm["paradigm_type"] == "singletasklearning"
        (module,) = algorithm["modules"]
        for hps in hyperparameters(module):
            output = f"{workspace}/{entry['name']}/{uuid.uuid1()}"
            config = {"algorithm": algorithm, "testenv": testenv}
            results = run_case(module, hps, config, output, old)
            columns = {f"basemodel-{name}": str(value) for name, value in hps.items()}
            names = list(columns)
            rows.append(
                {
                    "algorithm": entry["name"],
                    "paradigm": algorithm["paradigm_type"],
                    "basemodel": module["name"],
                    "time": time.strftime("%Y-%m-%d %H:%M:%S"),
                    "url": output,
                    **results,
                    **columns,
                }
            )
    rank(job, rows, workspace, names)


if __name__ == "__main__":
    main()
