"""The fake's own routes under /_fake, and its bill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from batchfast.errors import ConfigError
from batchfast.fake import FakeServer, Fault

CLAUDE: Any = {"model": "claude-haiku-4-5", "max_tokens": 900, "messages": [{"role": "user", "content": "About snow."}]}
GPT: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "About snow."}]}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[FakeServer]:
    with FakeServer(tmp_path / "slow", batch_seconds=3600) as server:
        yield server
        assert not server.errors


@pytest.fixture
def claude(slow: FakeServer) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=slow.base_urls["anthropic"], api_key="any", max_retries=0)


@pytest.fixture
def gpt(slow: FakeServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=slow.base_urls["openai"], api_key="any", max_retries=0)


def post(server: FakeServer, route: str, body: object = None, **given: Any) -> httpx2.Response:
    if body is not None:
        given["json"] = body
    return httpx2.post(f"{server.url}/_fake/{route}", **given)


def get(server: FakeServer, route: str) -> Any:
    return httpx2.get(f"{server.url}/_fake/{route}").json()


def submit(claude: anthropic.Anthropic, count: int = 2, **params: Any) -> str:
    made = [{"custom_id": f"r{n}", "params": CLAUDE | params} for n in range(count)]
    return claude.messages.batches.create(requests=made).id  # type: ignore[arg-type]


def submit_gpt(gpt: openai.OpenAI, count: int = 2) -> str:
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": GPT} for n in range(count)]
    file = gpt.files.create(file=("a.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    return gpt.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h").id


def state(claude: anthropic.Anthropic, batch_id: str) -> str:
    return claude.messages.batches.retrieve(batch_id).processing_status


def test_time_is_moved_over_http(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """advance moves the clock for every client; only forward."""
    batch_id = submit(claude)
    before = slow.now()
    assert post(slow, "advance", {"minutes": 30}).json()["time"] == pytest.approx(before + 1800, abs=60)
    assert state(claude, batch_id) == "in_progress"
    post(slow, "advance", {"minutes": 31})
    assert state(claude, batch_id) == "ended"
    post(slow, "advance", {"days": 29})
    assert claude.messages.batches.retrieve(batch_id).archived_at is not None
    for body, message in (
        ({"seconds": -1}, "forward"),
        ({"seconds": "1"}, "numbers"),
        ({"weeks": 1}, "unknown key 'weeks'"),
    ):
        answer = post(slow, "advance", body)
        assert (answer.status_code, message in answer.json()["error"]) == (400, True)


def test_batches_are_finished_over_http(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """One by its id, or all of them."""
    first, second, third = (submit(claude) for _ in range(3))
    assert post(slow, "finish", {"batch": second}).status_code == 200
    assert [state(claude, one) for one in (first, second, third)] == ["in_progress", "ended", "in_progress"]
    assert post(slow, "finish").status_code == 200
    assert [state(claude, one) for one in (first, second, third)] == ["ended"] * 3
    answer = post(slow, "finish", {"batch": "msgbatch_nope"})
    assert (answer.status_code, answer.json()) == (400, {"error": "there is no batch 'msgbatch_nope'"})


def test_a_batch_is_finished_as_it_was_listed(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """finish takes what batches() gives."""
    batch_id = submit(claude)
    slow.finish(slow.batches("anthropic")[0])
    assert state(claude, batch_id) == "ended"


def test_faults_are_planned_over_http(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """In JSON and in TOML; the plan tells how often each fired."""
    assert post(slow, "faults", {"faults": [{"does": "status", "route": "list", "status": 529}]}).json() == {
        "planned": 1
    }
    assert post(slow, "faults", content="[[faults]]\ndoes = 'lose'\nroute = 'poll'").json() == {"planned": 1}
    with pytest.raises(anthropic.OverloadedError):
        claude.messages.batches.list()
    plan = get(slow, "faults")["faults"]
    assert [(one["fault"]["does"], one["fired"]) for one in plan] == [("status", 1), ("lose", 0)]
    assert slow.unfired() == [Fault("lose", route="poll")]
    answer = post(slow, "faults", {"faults": [{"does": "loose"}]})
    assert answer.json() == {"error": "faults: fault 1: unknown fault 'loose'; did you mean 'lose'?"}
    assert post(slow, "faults", content=b"{]").status_code == 400


def test_state_and_reset_over_http(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """What the fake holds and has seen, and how to forget it."""
    batch_id = submit(claude)
    httpx2.get(f"{slow.url}/openai/v1/assistants")
    held = get(slow, "state")
    assert held["batches"]["anthropic"] == [{"id": batch_id, "requests": 2, "state": "validating"}]
    assert [call["route"] for call in held["calls"]] == ["create"]
    assert held["unknown_routes"] == ["GET /openai/v1/assistants"]
    assert post(slow, "reset").json() == {}
    held = get(slow, "state")
    assert (held["batches"]["anthropic"], held["calls"], held["unknown_routes"]) == ([], [], [])


def test_the_plan_is_forgotten_over_http(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """What was planned stops happening."""
    slow.plan(Fault("status", route="list"))
    httpx2.delete(f"{slow.url}/_fake/faults")
    assert claude.messages.batches.list().data == []
    assert get(slow, "faults") == {"faults": []}


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")])  # noqa: S104
def test_the_address_can_be_called(host: str, shown: str) -> None:
    """Also where it listens everywhere, or on IPv6."""
    with FakeServer(host=host) as server:
        assert server.url.startswith(f"http://{shown}:")
        assert httpx2.get(f"{server.url}/_fake/ledger").status_code == 200


def test_an_unknown_control_route_is_an_unknown_route(slow: FakeServer) -> None:
    """Also the fake's own routes answer 501 where there is none."""
    assert post(slow, "explode").status_code == 501
    assert slow.unknown_routes == ["POST /_fake/explode"]


def test_bill_of_a_batch_is_half_the_list_price(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """Charged from the end on, collected or not, by the tokens that the results name."""
    batch_id = submit(claude)
    bill = get(slow, "ledger")["anthropic"]
    assert (bill["requests"]["accepted"], bill["requests"]["in_flight"], bill["charged_usd"]) == (2, 2, 0)
    slow.finish_all()
    bill = get(slow, "ledger")["anthropic"]
    results = [line.result for line in claude.messages.batches.results(batch_id)]
    read = sum(one.message.usage.input_tokens for one in results if one.type == "succeeded")
    written = sum(one.message.usage.output_tokens for one in results if one.type == "succeeded")
    assert (bill["input_tokens"], bill["output_tokens"]) == (read, written) and written > 0
    assert bill["charged_usd"] == pytest.approx((read * 1 + written * 5) / 2 / 1e6)
    assert bill["batches"] == {"accepted": 1, "ended": 1}
    claude.messages.batches.delete(batch_id)
    assert get(slow, "ledger")["anthropic"] == bill
    assert get(slow, "ledger")["openai"]["charged_usd"] == 0


def test_bill_of_a_live_answer_is_the_list_price(slow: FakeServer, claude: anthropic.Anthropic) -> None:
    """A request answered at once costs twice what it costs in a batch."""
    usage = claude.messages.create(**CLAUDE).usage
    bill = slow.ledger()["anthropic"]
    assert bill["answered_at_once"] == 1
    assert bill["charged_usd"] == pytest.approx((usage.input_tokens * 1 + usage.output_tokens * 5) / 1e6)


def test_bill_of_a_double_submission(slow: FakeServer, gpt: openai.OpenAI) -> None:
    """The same file sent twice is charged twice: this is how a test sees money lost."""
    submit_gpt(gpt)
    slow.finish_all()
    once = slow.ledger()["openai"]["charged_usd"]
    submit_gpt(gpt)
    slow.finish_all()
    assert slow.ledger()["openai"]["charged_usd"] == pytest.approx(2 * once) and once > 0


def test_requests_always_add_up(slow: FakeServer, claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    """Whatever became of them, each is in one place; an expired Gemini batch loses none of its requests."""
    from google import genai

    slow.plan(Fault("expire", share=0.5), Fault("error", custom_id="r1"), Fault("fail", "openai", nth=2))
    submit(claude, 4)
    submit_gpt(gpt, 4)
    submit_gpt(gpt, 4)
    requests: Any = [{"contents": [{"parts": [{"text": "Hi"}]}]} for _ in range(4)]
    with genai.Client(api_key="any", http_options={"base_url": slow.base_urls["gemini"]}) as client:
        client.batches.create(model="gemini-2.5-flash", src=requests)
    submit(claude, 3)
    slow.finish(slow.batches("gemini")[0])
    slow.finish(slow.batches("anthropic")[1])
    for one in slow.batches("openai"):
        slow.finish(one)
    for bill in slow.ledger().values():
        requests = dict(bill["requests"])
        assert requests.pop("accepted") == sum(requests.values()) > 0
    assert slow.ledger()["gemini"]["requests"]["in_flight"] == 0
    assert slow.ledger()["anthropic"]["requests"]["in_flight"] == 3


@pytest.mark.parametrize(
    ("model", "usd"), [("gpt-4.1-mini", 1.6), ("gpt-4.1-mini-2025-04-14", 1.6), ("gpt-4.1", 8), ("gpt-5-pro", None)]
)
def test_a_model_has_its_own_price(slow: FakeServer, gpt: openai.OpenAI, model: str, usd: float | None) -> None:
    """Not that of a model whose name its own begins with."""
    usage = gpt.chat.completions.create(model=model, messages=GPT["messages"]).usage
    bill = slow.ledger()["openai"]
    if usd is None:
        assert (bill["charged_usd"], bill["unpriced_models"]) == (0, [model])
    else:
        assert usage is not None
        expected = usage.completion_tokens * usd + usage.prompt_tokens * usd / 4
        assert bill["charged_usd"] == pytest.approx(expected / 1e6)


def test_reset_forgets_the_bill_and_the_errors(slow: FakeServer, gpt: openai.OpenAI) -> None:
    """Nothing of one test is charged to the next."""
    gpt.chat.completions.create(**GPT)
    slow.errors.append(ValueError())
    slow.reset()
    assert slow.ledger()["openai"]["answered_at_once"] == 0
    assert slow.errors == []


def test_unfired_looks_at_what_nobody_polled(slow: FakeServer, gpt: openai.OpenAI) -> None:
    """A batch that ended without being looked at has met its faults all the same."""
    slow.plan(Fault("drop", custom_id="r0"))
    submit_gpt(gpt)
    assert slow.unfired() == [Fault("drop", custom_id="r0")]
    slow.finish_all()
    assert slow.unfired() == []


def test_what_cannot_be_served_is_refused_where_it_is_written() -> None:
    """Not at the first request."""
    for settings in ({"words": (100, 10)}, {"words": (0, 10)}, {"batch_seconds": -1}, {"batch_seconds": float("nan")}):
        with pytest.raises(ValueError, match="must be"):
            FakeServer(**settings)


def test_a_failed_start_leaves_nothing_open(tmp_path: Path) -> None:
    """Neither its port nor its database."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        FakeServer(tmp_path / "file").start()
    (tmp_path / "state.db").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="delete the folder"):
        FakeServer(tmp_path).start()


def test_a_batch_that_ended_in_the_meantime_cannot_be_cancelled(slow: FakeServer, gpt: openai.OpenAI) -> None:
    """Finishing twice changes nothing; what was answered stays answered."""
    batch_id = submit_gpt(gpt)
    slow.finish_all()
    ended_at = gpt.batches.retrieve(batch_id).completed_at
    slow.advance(hours=1)
    slow.finish_all()
    assert gpt.batches.retrieve(batch_id).completed_at == ended_at
    with pytest.raises(openai.ConflictError):
        gpt.batches.cancel(batch_id)
    assert gpt.batches.retrieve(batch_id).status == "completed"


def test_an_error_inside_the_fake_is_no_bad_request(
    slow: FakeServer, claude: anthropic.Anthropic, tmp_path: Path
) -> None:
    """What breaks while the ledger is made is kept, and answered 500."""
    submit(claude)
    slow.finish_all()
    next((tmp_path / "slow" / "files").glob("*.requests")).write_bytes(b"no json\n")
    assert httpx2.get(f"{slow.url}/_fake/ledger").status_code == 500
    assert len(slow.errors) == 1
    slow.errors.clear()


def test_what_is_not_charged(slow: FakeServer, claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    """Requests that failed cost nothing, a model without a price is named, a rejected batch is counted."""
    slow.plan(Fault("error", "anthropic", custom_id="r0"), Fault("fail", "openai"))
    submit(claude, model="claude-unheard-of")
    submit_gpt(gpt)
    slow.finish_all()
    bills = slow.ledger()
    assert bills["anthropic"]["requests"] == {
        "accepted": 2, "in_flight": 0, "succeeded": 1, "errored": 1, "expired": 0, "cancelled": 0, "rejected": 0
    }  # fmt: skip
    assert (bills["anthropic"]["charged_usd"], bills["anthropic"]["unpriced_models"]) == (0, ["claude-unheard-of"])
    assert (bills["openai"]["requests"]["rejected"], bills["openai"]["charged_usd"]) == (2, 0)


def test_words_of_a_text_are_settable(tmp_path: Path) -> None:
    """Longer texts where longer ones are asked for, also by another process that looks at the batch later."""
    lengths = {}
    for words in ((20, 30), (400, 500)):
        with FakeServer(tmp_path / str(words[0]), batch_seconds=0, words=words) as server:
            claude = anthropic.Anthropic(base_url=server.base_urls["anthropic"], api_key="any")
            live = claude.messages.create(**CLAUDE).content[0]
            batch_id = submit(claude, 1)
        with FakeServer(tmp_path / str(words[0]), batch_seconds=0) as server:
            claude = anthropic.Anthropic(base_url=server.base_urls["anthropic"], api_key="any")
            (line,) = claude.messages.batches.results(batch_id)
        assert line.result.type == "succeeded" and live.type == "text"
        later = line.result.message.content[0]
        assert later.type == "text" and later.text == live.text
        lengths[words] = len(live.text.split())
    assert lengths[20, 30] < 60 < 250 < lengths[400, 500]


def test_an_error_while_a_body_is_sent_is_kept(slow: FakeServer, gpt: openai.OpenAI, tmp_path: Path) -> None:
    """Where an answer has begun and cannot be finished, the fake still says what broke."""
    submit_gpt(gpt)
    slow.finish_all()
    slow.ledger()
    (batch,) = gpt.batches.list().data
    stored = tmp_path / "slow" / "files" / (batch.output_file_id or "")
    stored.unlink()
    stored.mkdir()  # can be measured, and not be read
    with pytest.raises(openai.APIConnectionError):
        gpt.files.content(batch.output_file_id or "")
    stored.rmdir()
    assert [type(one) for one in slow.errors] == [IsADirectoryError]
    slow.errors.clear()
