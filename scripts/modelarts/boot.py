"""The boot file of a preset engine, which starts it once per card: see srs/modelarts/entry.py."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
runpy.run_module("srs.modelarts.entry", run_name="__main__", alter_sys=True)
