"""Reading the XML documents in which S3 servers describe errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from tcia_covid.core.redaction import excerpt

_FIELD = re.compile(rb"<(Code|Message|RequestId)>([^<]*)(?:</|$)")
_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<Error\b")


@dataclass(frozen=True, slots=True)
class S3Error:
    """An error as an S3 server describes it; as text, `SlowDown: message (request 1234)`."""

    code: str
    """S3's name of the error, such as `SlowDown` or `NoSuchKey`."""
    message: str = ""
    """A sentence, on one line."""
    request_id: str = ""
    """Identifies the request in the server's logs."""

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else self.code
        return f"{text} (request {self.request_id})" if self.request_id else text


def parse_s3_error(body: bytes) -> S3Error | None:
    """Parse the start of a response; None if it is not an S3 error."""
    if not _ROOT.match(body.removeprefix(b"\xef\xbb\xbf")):
        return None
    fields = {name.decode(): _text(value) for name, value in _FIELD.findall(body)}
    if not fields.get("Code"):
        return None
    return S3Error(fields["Code"], fields.get("Message", ""), fields.get("RequestId", ""))


def _text(value: bytes) -> str:
    return excerpt(unescape(value.decode("utf-8", "replace")).encode())
