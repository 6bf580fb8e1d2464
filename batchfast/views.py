"""What the command line prints: plain text made from the reports. Text from models and providers is made harmless."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batchfast.deadlines import deadline_line, hours_left, is_loud
from batchfast.store import Ledger, RunRow
from batchfast.terminal import one_line, plain


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned by spaces; numbers to the right."""
    lines = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [all(line[i][:1].isdigit() or line[i] in ("-", "") for line in lines[1:]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value), None)


def usd(value: float | None) -> str:
    """Money, or that it is unknown."""
    if value is None:
        return "unknown"
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.4f} USD"


def money(cost: dict[str, Any], *, settled: bool = True) -> str:
    """The `cost` of a run's status in words."""
    if cost["usd"] is None and not cost["unpriced"]:
        return "nothing" if settled else "nothing yet"
    assumed = " (assumed batch prices)" if cost["assumed"] else ""
    unpriced = f", {count(cost['unpriced'], 'answer')} without a known price" if cost["unpriced"] else ""
    return usd(cost["usd"]) + assumed + unpriced


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def ledger_line(ledger: dict[str, int]) -> str:
    """The ledger in words, without what is zero."""
    parts = [f"{ledger[name]:,} {name.replace('_', ' ')}" for name in ledger if name != "total" and ledger[name]]
    return f"{count(ledger['total'], 'request')}: " + (", ".join(parts) or "none")


def failures_line(reasons: Iterable[tuple[str, str, int]]) -> str:
    """`(outcome, error type, count)` in words: why requests failed, and how many expired or were cancelled."""
    counts: dict[str, int] = {}
    for outcome, kind, count in reasons:
        label = f"failed ({one_line(kind)})" if outcome == "failed" and kind else outcome
        counts[label] = counts.get(label, 0) + count
    return ", ".join(f"{count:,} {label}" for label, count in counts.items())


def run_heading(status: dict[str, Any]) -> str:
    fake = "  FAKE" if status["fake"] else ""
    reason = f" ({one_line(status['reason'], None)})" if status["reason"] else ""
    return f"run {status['run']}  {status['state']}{reason}{fake}"


def run_view(status: dict[str, Any], width: int | None = None) -> str:
    """
    One run with its batches.

    Args:
        width: Of the terminal (characters), to which the long columns are shortened; None keeps everything.
    """
    lines = [
        run_heading(status),
        f"{ledger_line(status['requests'])}; {count(status['rows'], 'row')}",
        f"{'would have cost' if status['fake'] else 'spent'}: "
        + money(status["cost"], settled=status["settled_at"] is not None),
    ]
    if status["cost"]["max_usd"] is not None:
        lines[-1] += f", of at most {usd(status['cost']['max_usd'])}"
    if deadline := deadline_line(status["collect_by"], status["collect_within_h"]):
        lines.append(deadline)
    lines += ["", _batches(status["batches"], width)]
    for batch in status["batches"]:
        if batch["state"] == "uncertain" and batch["note"]:
            lines += ["", f"shard {batch['name']} is uncertain: {one_line(batch['note'], None)}"]
    if status["next_command"]:
        lines += ["", f"next: {status['next_command']}"]
    return "\n".join(lines)


def _batches(batches: list[dict[str, Any]], width: int | None) -> str:
    header = ["model", "shard", "try", "state", "at provider", "requests", "rows", "batch", "note"]
    rows: list[list[Any]] = [
        [
            f"{b['provider']} {b['model_id']}",
            b["name"],
            b["attempt"],
            b["state"],
            b["remote_state"],
            b["requests"],
            b["rows"],
            b["remote_id"],
            one_line("; ".join(filter(None, ("overdue" if b["overdue"] else None, b["note"]))), 60),
        ]
        for b in batches
    ]
    if width is not None:
        for column in (header.index("note"), header.index("batch")):
            _shorten(header, rows, column, width)
    return table(header, rows)


def _shorten(header: Sequence[str], rows: list[list[Any]], column: int, width: int) -> None:
    """Cut a column's texts, to eight characters at most, until the table is no wider than `width`."""
    over = max(map(len, table(header, rows).split("\n"))) - width
    longest = max((len(row[column] or "") for row in rows), default=0)
    if over > 0:
        for row in rows:
            row[column] = row[column] and one_line(row[column], max(8, longest - over))


def runs_view(runs: Sequence[tuple[RunRow, Ledger, int, str | None]], now: float) -> str:
    """All runs, newest first, each with its earliest deadline; one that is near is marked."""
    if not runs:
        return "no runs yet"
    header = ["run", "", "state", "requests", "settled", "rows", "collect by", "created", "output"]
    return table(
        header,
        (
            [
                run.id,
                "FAKE" if run.fake else "",
                run.state,
                ledger.total,
                ledger.total - ledger.in_flight - ledger.waiting,
                rows,
                _short_deadline(collect_by, now),
                run.created_at[:16],
                run.output_file,
            ]
            for run, ledger, rows, collect_by in runs
        ),
    )


def _short_deadline(collect_by: str | None, now: float) -> str:
    if collect_by is None:
        return ""
    return ("!! " if is_loud(deadline_line(collect_by, hours_left(collect_by, now))) else "") + collect_by[:16]


def clean_view(cleaned: dict[str, Any]) -> str:
    """What became of a run's files and batches at the providers."""
    fake = "FAKE " if cleaned["fake"] else ""
    lines = [f"{fake}run {cleaned['run']}: its rows are safe in {plain(cleaned['dataset'])}"]
    for name in ("deleted", "absent", "kept", "failed"):
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in cleaned[name]:
            groups.setdefault((one["provider"], one["why"] or ""), []).append(one)
        for (provider, why), members in groups.items():
            lines += _clean_lines(name, provider, why, members)
    return "\n".join(lines if len(lines) > 1 else [*lines, "there is nothing left to delete"])


def _clean_lines(name: str, provider: str, why: str, members: list[dict[str, Any]]) -> list[str]:
    """`deleted  openai: 1 input file, 2 output files`, and below it why not."""
    kinds = [one["kind"] for one in members]
    things = ", ".join(
        "the rest" if kind == "rest" else count(kinds.count(kind), kind, "batches" if kind == "batch" else None)
        for kind in dict.fromkeys(kinds)
    )
    until = max((one["until"] for one in members if one["until"]), default=None)
    gone = f" (gone by itself {until[:16]} UTC)" if until else ""
    return [f"{name:<8} {provider}: {things}{gone}", *([f"         {one_line(why, 300)}"] if why else [])]


def plan_view(plan: dict[str, Any]) -> str:
    """What a spec would send."""
    header = ["model", "requests", "rows", "files", "bytes", "tokens in", "tokens out", "batch price", "list price"]
    rows = [
        [
            f"{entry['provider']} {entry['model_id']}",
            entry["requests"],
            entry["rows"],
            entry["files"],
            ("" if entry["exact"] else "about ") + f"{entry['bytes']:,}",
            entry["input_tokens"],
            entry["output_tokens"],
            usd(entry["cost_batch_usd"]) + (" assumed" if entry["assumed"] else ""),
            usd(entry["cost_list_usd"]),
        ]
        for entry in plan["providers"]
    ]
    expected = f"{count(plan['requests'], 'request')}, {count(plan['rows'], 'row')}"
    lines = [
        f"run {plan['run']}: {expected} expected in {plan['output_file']}",
        "",
        table(header, rows),
        "",
        f"total: {usd(plan['cost_batch_usd'])} as batches, {usd(plan['cost_list_usd'])} at list price",
        f"({plan['note']})",
    ]
    for sample in plan["samples"]:
        lines += ["", f"--- prompt of request {sample['request']}", plain(sample["prompt"])]
    return "\n".join(lines)


def show_view(request: dict[str, Any]) -> str:
    """One request with every attempt."""
    about = [
        f"{name}: {one_line(str(value), None)}" for name, value in request["metadata"].items() if value is not None
    ]
    lines = [
        f"request {request['request']} of run {request['run']}: {request['provider']} {request['model_id']}",
        f"language: {request['language']}",
        *about,
        "",
        "--- prompt",
        plain(request["prompt"]),
    ]
    for attempt in request["attempts"]:
        lines += ["", *_attempt(attempt)]
    if not request["attempts"]:
        lines += ["", "no result yet"]
    return "\n".join(lines)


def _attempt(attempt: dict[str, Any]) -> list[str]:
    error = attempt["error"]
    head = f"--- attempt {attempt['attempt']}: {attempt['outcome']}"
    if attempt["finish_reason"]:
        head += f", finish reason {one_line(attempt['finish_reason'])}"
    lines = [head + (f", batch {one_line(attempt['batch'])}" if attempt["batch"] else "")]
    if error:
        lines.append(f"{one_line(error['type'])}: {one_line(error['message'] or '', 300)}")
    if attempt["usage"]:
        usage = ", ".join(f"{value:,} {name}" for name, value in attempt["usage"].items() if value is not None)
        lines.append(f"{usage}; price {usd(attempt['cost_usd'])}")
    if attempt["raw_text"] is not None:
        lines += ["--- raw reply", plain(attempt["raw_text"])]
    for number, text in enumerate(attempt["texts"]):
        lines += [f"--- row {number}", plain(text)]
    return lines
