"""`python -m tests.benchmarks [--requests N]`: one line a figure."""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.fake import WAYS, measure

# What a service takes in one batch, where that is less than the largest taken by any.
_MOST = {"openai": 50_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in one batch (default: %(default)s)")
    wanted = parser.parse_args().requests
    for service in WAYS:
        requests = min(wanted, _MOST.get(service, wanted))
        for name, value in measure(requests, service)._asdict().items():
            sys.stdout.write(f"fake {service:<10} {requests:>8,} requests {name:<12} {value:>10.1f}\n")


if __name__ == "__main__":
    main()
