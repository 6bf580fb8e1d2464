"""What takes how long, and how much memory: `python -m tests.benchmarks`. Not run by pytest."""
