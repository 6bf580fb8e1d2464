"""Gemini's resumable upload: a start, pieces at their offsets, and the file once the last one is here."""

from __future__ import annotations

import re
import secrets
import string

from starlette.responses import Response

from batchfast.fake.gemini_body import camel_case, wrong_value
from batchfast.fake.gemini_wire import (
    MAX_FILE_BYTES,
    error_response,
    file_object,
    json_response,
    sha256_of,
    too_large,
    upload_response,
)
from batchfast.fake.ids import FRESH, letters
from batchfast.fake.records import DAY_S, File, Upload
from batchfast.fake.service import Incoming
from batchfast.fake.shapes import WrongType, as_object, as_text
from batchfast.fake.state import State

FILE_LIFETIME_S = 2 * DAY_S
LOWER = string.ascii_lowercase + string.digits
_CHUNK_GRANULARITY = 8_388_608
_FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


class Uploads:
    """The one address uploads go to; what a call wants stands in its headers."""

    def __init__(self, state: State, provider: str) -> None:
        self._state = state
        self._provider = provider

    def take(self, call: Incoming) -> Response:
        upload_id = call.query.get("upload_id")
        command = call.headers.get("x-goog-upload-command", "")
        if upload_id is None:
            return self._start(call) if command == "start" else _refused("", 400, "No upload_id.")
        upload = self._state.files.upload(self._provider, upload_id)
        if upload is None:
            return _refused(upload_id, 404, "Upload not found.")
        over = upload.file_id is not None
        if command == "query":
            response = upload_response(upload_id, "final" if over else "active")
            response.headers["x-goog-upload-size-received"] = str(upload.received)
            return response
        if over:
            return _refused(upload_id, 400, "Upload has already been finalized.")
        if command == "cancel":
            self._state.files.cancel_upload(upload)
            return upload_response(upload_id, "cancelled")
        wanted = {one.strip() for one in command.split(",")}
        if not wanted <= {"upload", "finalize"}:
            return _refused(upload_id, 400, f"Invalid upload command: {command!r}.", status="active")
        return self._piece(call, upload, wanted)

    def _start(self, call: Incoming) -> Response:
        try:
            given = as_object(camel_case(call.json()).get("file"), "file")
            name = (as_text(given.get("name"), "file.name") or "").removeprefix("files/")
            for member in ("displayName", "mimeType"):
                as_text(given.get(member), f"file.{member}")
        except WrongType as exc:
            return _refused("", 400, wrong_value(exc))
        announced = call.headers.get("x-goog-upload-header-content-length", "0")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > MAX_FILE_BYTES:
            return _refused("", 400, too_large(int(announced)))
        if name and not _FILE_NAME.fullmatch(name):
            return _refused("", 400, f"Invalid file name: 'files/{name}'.")
        if self._is_taken(name):
            return _refused("", 409, f"File 'files/{name}' already exists.")
        upload_id = "upload-" + secrets.token_hex(6)
        mime_type = given.get("mimeType") or call.headers.get("x-goog-upload-header-content-type") or "text/plain"
        detail = {"id": name, "display_name": given.get("displayName") or None, "mime_type": mime_type}
        self._state.files.start_upload(self._provider, upload_id, detail)
        address = f"{call.origin}/upload/{call.path['version']}/files?upload_id={upload_id}&upload_protocol=resumable"
        response = upload_response(upload_id, "active")
        response.headers["x-goog-upload-url"] = address
        response.headers["x-goog-upload-control-url"] = address
        response.headers["x-goog-upload-chunk-granularity"] = str(_CHUNK_GRANULARITY)
        return response

    def _piece(self, call: Incoming, upload: Upload, wanted: set[str]) -> Response:
        received = upload.received
        if "upload" in wanted:
            if call.headers.get("x-goog-upload-offset") != str(received):
                message = f"Invalid upload offset: expected {received}."
                return _refused(upload.id, 400, message, status="active")
            received = self._state.files.append_upload(upload, call.body)
            if received > MAX_FILE_BYTES:
                return _refused(upload.id, 400, too_large(received))
        if "finalize" not in wanted:
            return upload_response(upload.id, "active")
        if self._is_taken(upload.detail["id"]):
            return _refused(upload.id, 409, f"File 'files/{upload.detail['id']}' already exists.")
        body = {"file": file_object(self._finished(upload, received), call)}
        return upload_response(upload.id, "final", answer=json_response(body))

    def _is_taken(self, name: str) -> bool:
        return bool(name) and self._state.files.named(self._provider, name) is not None

    def _finished(self, upload: Upload, received: int) -> File:
        now = self._state.now()
        name = upload.detail["id"] or letters(FRESH, 12, LOWER)
        digest = sha256_of(self._state.files.path(f"{upload.id}.part"))
        detail = {**upload.detail, "id": name, "sha256": digest, "source": "UPLOADED"}
        # Its bytes go by the upload's id: a batch keeps reading them when the name has been given again.
        file = File(upload.id, self._provider, name, "batch", received, now, now + FILE_LIFETIME_S, detail)
        return self._state.files.finish_upload(upload, file)


def _refused(upload_id: str, code: int, message: str, *, status: str = "final") -> Response:
    return upload_response(upload_id, status, answer=error_response(code, message))
