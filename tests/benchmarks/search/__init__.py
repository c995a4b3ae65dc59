"""Modules of `benchmarks/search` import each other by plain name; so do their tests."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# At the end: no module of another package is hidden.
sys.path.append(str(Path(__file__).parents[3] / "benchmarks" / "search"))
