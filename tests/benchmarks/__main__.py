"""`python -m tests.benchmarks [--requests N]`: one line a figure."""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.fake import WAYS, measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in one batch (default: %(default)s)")
    requests = parser.parse_args().requests
    for service in WAYS:
        for name, value in measure(requests, service)._asdict().items():
            sys.stdout.write(f"fake {service:<10} {name:<12} {value:>12.1f}\n")


if __name__ == "__main__":
    main()
