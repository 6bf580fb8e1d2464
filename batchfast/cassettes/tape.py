"""How vcrpy is set up here: what makes two calls the same, and how a cassette is written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from batchfast.cassettes.scrub import Scrubber
from batchfast.errors import ConfigError

if TYPE_CHECKING:
    from vcr import VCR  # type: ignore[import-untyped]
    from vcr.request import Request  # type: ignore[import-untyped]

_VERSION = re.compile(r"/v1(alpha|beta)?(?=/)")


def recorder(scrubber: Scrubber | None = None) -> VCR:
    """
    vcrpy as cassettes need it.

    Args:
        scrubber: For recording. Without one a cassette is played as it is, whoever recorded it; calls are scrubbed all
            the same before they are compared, and so never show a key.

    Raises:
        ConfigError: vcrpy is missing.
    """
    try:
        import vcr
    except ModuleNotFoundError as exc:
        raise ConfigError(f"cassettes need {exc.name}: pip install 'batchfast[pytest]'") from exc
    tape = vcr.VCR(
        match_on=("method", "service_path", "query", "content"),
        before_record_request=(scrubber or Scrubber()).request,
        before_record_response=scrubber.response if scrubber else None,
        decode_compressed_response=scrubber is not None,
    )
    tape.register_serializer("readable", _Readable)
    tape.register_matcher("service_path", _same_path)
    tape.register_matcher("content", _same_content)
    return tape


class _Readable:
    """YAML with bodies of several lines written as such, so that two recordings can be compared by eye."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        import yaml  # type: ignore[import-untyped]

        def represent(dumper: Any, text: str) -> Any:
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

        dumper = type("Dumper", (yaml.SafeDumper,), {})  # a class of its own: representers are kept by class
        yaml.add_representer(str, represent, dumper)
        text: str = yaml.dump(cassette, Dumper=dumper, sort_keys=False, width=1 << 20)
        return text

    @staticmethod
    def deserialize(text: str) -> Any:
        import yaml

        return yaml.safe_load(text)


def _same_path(sent: Request, recorded: Request) -> None:
    """What comes before the service's own path is a matter of the base URL, the version one of the SDK's release."""
    ours, theirs = (_VERSION.sub("", one.path, count=1) for one in (sent, recorded))
    if not ours.endswith(theirs):
        raise AssertionError(f"{sent.path} is not {recorded.path}")  # vcrpy's way of hearing why not


def _same_content(sent: Request, recorded: Request) -> None:
    ours, theirs = _content(sent), _content(recorded)
    if ours != theirs:
        raise AssertionError(f"the body is {ours!r}, the recorded one {theirs!r}")


def _content(request: Request) -> Any:
    """A body as what it means: the parts of a form in no order, JSON, or JSON line by line; else its bytes."""
    body: bytes = request.body or b""
    kind, _, boundary = request.headers.get("content-type", "").partition("boundary=")
    if not kind.startswith("multipart/form-data"):
        return _parsed(body)
    parts = [part.partition(b"\r\n\r\n") for part in body.split(b"--" + boundary.strip('"').encode())[1:-1]]
    return sorted(((head.strip(), _parsed(content.removesuffix(b"\r\n"))) for head, _, content in parts), key=repr)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in content.split(b"\n") if line.strip()]
    except ValueError:
        return content
