"""The model under test, as Ianvs' single-task paradigm calls it. Runs on Python 3.8.

``__init__(adapter)`` → ``preprocess`` → ``train`` → ``save`` → ``load`` → ``predict``; each row of the
leaderboard is one value of ``adapter``. Training was done before the job was exported.
"""

from __future__ import annotations

from typing import Any

# Ianvs takes this folder off sys.path again after the import: siblings load here or never.
import op_eval
from sedna.common.class_factory import ClassFactory, ClassType


@ClassFactory.register(ClassType.GENERAL, alias="srs_code_model")
class SrsCodeModel:
    def __init__(self, adapter: str = "base", **_: Any) -> None:
        self.adapter = str(adapter)

    def preprocess(self) -> None:
        """Ianvs calls this a second time unless it returns None."""

    def train(self, train_data: Any, valid_data: Any = None, **_: Any) -> None:
        """Nothing to do."""

    def save(self, model_path: str | None = None) -> str | None:
        """The folder of the adapter; None, for the base model, means the initial model to Ianvs."""
        folder: str | None = op_eval.adapter_folder(self.adapter)
        return folder

    def load(self, model_url: str | None = None, **_: Any) -> None:
        """The model is loaded by the process that `predict` starts."""

    def predict(self, data: Any, input_shape: Any = None, **_: Any) -> list[str]:
        """One JSON text for each question: ``id, completion, code``, or ``error`` in all of them."""
        answers: list[str] = op_eval.predict(self.adapter, [str(question) for question in data])
        return answers
