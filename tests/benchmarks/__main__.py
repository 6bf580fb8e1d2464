"""`python -m tests.benchmarks [--requests N]`: one line a figure."""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.fake import measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in one batch (default: %(default)s)")
    figures = measure(parser.parse_args().requests)
    for name, value in figures._asdict().items():
        sys.stdout.write(f"fake  {name:<12} {value:>12.1f}\n")


if __name__ == "__main__":
    main()
