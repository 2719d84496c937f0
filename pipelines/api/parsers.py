"""Bodies that are read as a whole: how long they may be, and what their texts may hold."""

import io
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, JSONParser

from pipelines.errors import TooLarge, TruncatedUpload

#: Characters that no database keeps and no encoding carries: NUL and half surrogate pairs.
UNKEEPABLE = re.compile(r"[\x00\ud800-\udfff]")
DEEPEST = 64


def whole_body(
    stream: IO[bytes], context: Mapping[str, Any] | None, longest: int | None = None
) -> bytes:
    """All of a body that must not be longer than is read into memory, nor shorter than announced.

    Django keeps its own limit only where it reads the body by itself.
    """
    longest = settings.DATA_UPLOAD_MAX_MEMORY_SIZE if longest is None else longest
    try:
        content = stream.read(longest + 1)
    except OSError as error:
        raise TruncatedUpload("The body broke off before its end. Send it again.") from error
    if len(content) > longest:
        raise TooLarge(f"A body of this form may have at most {longest} bytes.")
    announced = (context or {})["request"].META.get("CONTENT_LENGTH") or "0"
    if len(content) < int(announced):
        raise TruncatedUpload(
            f"The body ended {int(announced) - len(content)} bytes before its announced length. "
            "Send it again."
        )
    return content


class JsonParser(JSONParser):
    """JSON in UTF-8, no deeper than anybody means it, of texts that can be stored and answered."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        content = whole_body(stream, parser_context)
        try:
            data = super().parse(
                io.BytesIO(content), media_type, {**(parser_context or {}), "encoding": "utf-8"}
            )
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        for text in _texts(data, 0):
            if UNKEEPABLE.search(text):
                raise ParseError("A text has NUL or half a surrogate pair in it.")
        return data


def _texts(value: Any, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ParseError(f"The JSON is nested deeper than {DEEPEST} levels.")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, depth + 1)


class YamlParser(BaseParser):
    """A definition as the whole body."""

    media_type = "text/yaml"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return {"yaml": whole_body(stream, parser_context).decode("utf-8-sig")}
        except UnicodeDecodeError as error:
            raise ParseError("The definition is not UTF-8.") from error


class PlainYamlParser(YamlParser):
    media_type = "application/yaml"
