"""What the command line prints: plain text made from the reports. Text from models and providers is made harmless."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from batchfast.store import Ledger, RunRow


def plain(text: str) -> str:
    """Without the control characters by which untrusted text could move a terminal's cursor or forge lines."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp")
        else "\ufffd"
        for character in text
    )


def one_line(text: str, width: int = 100) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


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
    return f"{value:,}" if isinstance(value, int) else plain(str(value))


def usd(value: float | None) -> str:
    """Money, or that it is unknown."""
    if value is None:
        return "unknown"
    return f"{value:,.2f} USD" if value >= 1 else f"{value:.4f} USD"


def ledger_line(ledger: dict[str, int]) -> str:
    """The ledger in words, without what is zero."""
    parts = [f"{ledger[name]:,} {name.replace('_', ' ')}" for name in ledger if name != "total" and ledger[name]]
    return f"{ledger['total']:,} requests: " + (", ".join(parts) or "none")


def failures_line(reasons: Iterable[tuple[str, str, int]]) -> str:
    """`(outcome, error type, count)` in words: why requests failed, and how many expired or were cancelled."""
    counts: dict[str, int] = {}
    for outcome, kind, count in reasons:
        label = f"failed ({plain(kind)})" if outcome == "failed" and kind else outcome
        counts[label] = counts.get(label, 0) + count
    return ", ".join(f"{count:,} {label}" for label, count in counts.items())


def run_heading(status: dict[str, Any]) -> str:
    fake = "  FAKE" if status["fake"] else ""
    reason = f" ({plain(status['reason'])})" if status["reason"] else ""
    return f"run {status['run']}  {status['state']}{reason}{fake}"


def run_view(status: dict[str, Any]) -> str:
    """One run with its batches."""
    cost = status["cost"]
    assumed = " (assumed batch prices)" if cost["assumed"] else ""
    unpriced = f", {cost['unpriced']:,} answers without a known price" if cost["unpriced"] else ""
    spent = usd(cost["usd"]) if cost["usd"] is not None or cost["unpriced"] else "nothing answered yet"
    lines = [
        run_heading(status),
        f"{ledger_line(status['requests'])}; {status['rows']:,} rows",
        f"{'would have cost' if status['fake'] else 'spent'}: {spent}{assumed}{unpriced}",
    ]
    if status["collect_by"]:
        lines.append(f"collect by: {status['collect_by']}")
    lines += ["", _batches(status["batches"])]
    if status["next_command"]:
        lines += ["", f"next: {status['next_command']}"]
    return "\n".join(lines)


def _batches(batches: list[dict[str, Any]]) -> str:
    header = ["model", "shard", "try", "state", "at provider", "requests", "rows", "batch", "note"]
    return table(
        header,
        (
            [
                f"{b['provider']} {b['model_id']}",
                b["shard"],
                b["attempt"],
                b["state"],
                b["remote_state"],
                b["requests"],
                b["rows"],
                b["remote_id"],
                one_line(b["note"], 60) if b["note"] else "",
            ]
            for b in batches
        ),
    )


def runs_view(runs: Iterable[tuple[RunRow, Ledger, int]]) -> str:
    """All runs, newest first."""
    header = ["run", "", "state", "requests", "settled", "rows", "created", "output"]
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
                run.created_at[:16],
                run.output_file,
            ]
            for run, ledger, rows in runs
        ),
    )


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
    lines = [
        f"run {plan['run']}: {plan['requests']:,} requests, {plan['rows']:,} rows expected in {plan['output_file']}",
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
    about = [f"{name}: {plain(str(value))}" for name, value in request["metadata"].items() if value is not None]
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
        head += f", finish reason {plain(attempt['finish_reason'])}"
    lines = [head + (f", batch {attempt['batch']}" if attempt["batch"] else "")]
    if error:
        lines.append(f"{error['type']}: {one_line(error['message'] or '', 300)}")
    if attempt["usage"]:
        usage = ", ".join(f"{value:,} {name}" for name, value in attempt["usage"].items() if value is not None)
        lines.append(f"{plain(usage)}; price {usd(attempt['cost_usd'])}")
    if attempt["raw_text"] is not None:
        lines += ["--- raw reply", plain(attempt["raw_text"])]
    for number, text in enumerate(attempt["texts"]):
        lines += [f"--- row {number}", plain(text)]
    return lines
