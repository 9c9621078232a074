"""The job's metrics: functions of (y_true, y_pred) that give one number. Runs on Python 3.8.

``y_true`` holds the data's ``answer`` texts, which say which task each is; ``y_pred`` what `predict`
returned, in the same order.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable

from sedna.common.class_factory import ClassFactory, ClassType

# basemodel.py has loaded it in a run, and Ianvs has taken its folder off sys.path again since.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testalgorithms" / "gen"))
import op_eval

sys.path.pop(0)


def _register(metric: dict[str, Any]) -> Callable[[Any, Any], float]:
    @ClassFactory.register(ClassType.GENERAL, alias=metric["name"])  # type: ignore[untyped-decorator]
    def measure(y_true: Any, y_pred: Any) -> float:
        mean: float = op_eval.score(metric["value"], metric["benchmark"], y_true, y_pred)
        return mean

    return measure  # type: ignore[no-any-return]


METRICS = {metric["name"]: _register(metric) for metric in op_eval.job()["metrics"]}
