"""
A script on the plain `openai` package: sort product reviews overnight, at half the price.

    python reviews.py < reviews.txt        (one review a line)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable

from openai import OpenAI
from openai.types import Batch

POLL_S = 60.0
ENDED = {"completed", "failed", "expired", "cancelled"}


def submit(client: OpenAI, reviews: Iterable[str]) -> str:
    """Upload one request a review and start the batch; returns its id."""
    lines = [
        {
            "custom_id": f"review-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "gpt-4.1-mini",
                "messages": [{"role": "user", "content": f"Is this review pleased or not? {review}"}],
            },
        }
        for number, review in enumerate(reviews)
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("reviews.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h").id


def wait(client: OpenAI, batch_id: str) -> Batch:
    """The batch once it has ended, whatever came of it."""
    while (batch := client.batches.retrieve(batch_id)).status not in ENDED:
        time.sleep(POLL_S)
    return batch


def download(client: OpenAI, batch: Batch) -> tuple[dict[str, str], dict[str, str]]:
    """The answers and the errors by custom_id; results come back in any order, errors in a file of their own."""
    answers, errors = {}, {}
    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
        for line in map(json.loads, client.files.content(file_id).read().splitlines()):
            response = line["response"] or {"status_code": 0, "body": {"error": line["error"]}}
            if response["status_code"] == 200:
                answers[line["custom_id"]] = response["body"]["choices"][0]["message"]["content"]
            else:
                errors[line["custom_id"]] = response["body"]["error"]["message"]
    return answers, errors


def main() -> None:
    client = OpenAI()
    answers, errors = download(client, wait(client, submit(client, sys.stdin)))
    print(json.dumps(answers, indent=2))
    for custom_id, message in errors.items():
        print(f"{custom_id}: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
