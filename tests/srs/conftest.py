from __future__ import annotations

from pathlib import Path

import pytest
from random_model import make_model


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    return make_model(tmp_path_factory.mktemp("random-model"))
