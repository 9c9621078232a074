"""The parts of scripts/bench_gpu.py: random models of real shapes, our engines, and plain ones beside."""
