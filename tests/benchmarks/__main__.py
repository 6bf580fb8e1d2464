"""
What takes how long, beside plain loops and other packages, each in a fresh process, by turns.

Sizes are requests; a size that a service does not take in one batch is cut to what it does (fake).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import collect, compiling, fake, startup, state
from tests.benchmarks.plot import as_svg
from tests.benchmarks.report import as_json, as_text, machine
from tests.benchmarks.running import Failed, Record, Subject
from tests.benchmarks.workload import MODELS, PER_TOPIC

_NAMES = ("compile", "collect", "state", "startup", "fake")


def main(arguments: list[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    about = machine(Path(given.folder or tempfile.gettempdir()))
    records: list[Record] = []
    try:
        records.extend(_measured(given))
    except Failed as exc:
        raise SystemExit(f"\nstopped: {exc}") from exc
    finally:  # what was measured until then is worth its time
        sys.stdout.write(as_text(records, about, given.runs))
        if given.json:
            given.json.write_text(json.dumps(as_json(records, about, given.runs), indent=1) + "\n")
        if given.svg:
            given.svg.write_text(as_svg(records))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of: {' '.join(_NAMES)} (default: all)")
    parser.add_argument("--sizes", type=_sizes, default=[10_000, 100_000, 1_000_000], help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="rounds, of which the medians count (default: %(default)s)")
    parser.add_argument("--providers", type=_providers, help="default: all for compile, openai for collect")
    parser.add_argument(
        "--peers", action="store_true", help="install other packages and measure them too (OpenAI only)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="a plot of requests a second against size")
    parser.add_argument("--folder", type=Path, help="where files are written: another disk (default: a temporary one)")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument(
        "--cache",
        type=Path,
        default=caches / "batchfast-benchmarks",
        help="where other packages' environments are kept (default: %(default)s)",
    )
    return parser


def _sizes(text: str) -> list[int]:
    sizes = sorted(int(size.replace("_", "")) for size in text.split(","))
    if any(size < 1 or size % PER_TOPIC for size in sizes):
        raise argparse.ArgumentTypeError(f"sizes are multiples of {PER_TOPIC}")
    return sizes


def _providers(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(MODELS):
        raise argparse.ArgumentTypeError(f"choose among {', '.join(MODELS)}")
    return names


def _measured(given: argparse.Namespace) -> Iterator[Record]:
    names = given.names or _NAMES
    if unknown := set(names) - set(_NAMES):
        raise SystemExit(f"there is no benchmark {', '.join(sorted(unknown))}: choose among {' '.join(_NAMES)}")
    for name in names:
        for measure in _parts(name, given):
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                yield from measure(Path(folder))
            sys.stderr.write(".")
            sys.stderr.flush()
    sys.stderr.write("\n")


def _parts(name: str, given: argparse.Namespace) -> Iterator[Callable[[Path], list[Record]]]:
    """What a benchmark consists of: at each size, for each provider."""
    runs: int = given.runs
    if name == "startup":
        yield lambda folder: startup.benchmark(runs, folder)
    elif name == "fake":
        for service in MODELS:
            for size in sorted({min(size, fake.MOST[service]) for size in given.sizes}):
                yield lambda folder, service=service, size=size: fake.benchmark(service, size, runs, folder)
    elif name == "state":
        for size in given.sizes:
            yield lambda folder, size=size: state.benchmark(size, runs, folder)
    else:
        default = list(MODELS) if name == "compile" else ["openai"]
        for provider in given.providers or default:
            for size in given.sizes:
                yield lambda folder, provider=provider, size=size: _sized(name, given, provider, size, folder)


def _sized(name: str, given: argparse.Namespace, provider: str, size: int, folder: Path) -> list[Record]:
    with_peers = given.peers and provider == "openai"
    if name == "compile":
        return compiling.benchmark(
            provider, size, given.runs, folder, _peers(given, "compile", size) if with_peers else []
        )
    return collect.benchmark(
        provider,
        size,
        given.runs,
        folder,
        lambda prepared: _peers(given, "collect", size, prepared) if with_peers else [],
    )


def _peers(given: argparse.Namespace, function: str, size: int, prepared: Path | None = None) -> list[Subject]:
    from tests.benchmarks.environments import peers

    return peers(given.cache, function, size, prepared)


if __name__ == "__main__":
    main()
