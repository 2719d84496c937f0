"""Kubernetes manifests of a workspace: found, filled in, and written out for kubectl.

Values are put into the texts of a manifest, not into its source: a value with a line break or a
brace stays one value and can never become a field of its own.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.errors import Invalid

ENDINGS = (".yaml", ".yml", ".json")
MOST = 8 * 1024 * 1024
PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The manifests as kubectl gets them, and which ${names} nothing answered."""

    folder: Path
    files: tuple[str, ...]
    unanswered: tuple[str, ...]


def render(
    paths: Sequence[str],
    values: Mapping[str, str],
    *,
    folder: Path,
    workspace: Path,
    into: Path,
) -> Rendered:
    """Write the manifests that `paths` name, seen from `folder`, into the new folder `into`.

    They are numbered in the order in which they were named, because kubectl takes a folder's files
    by name. The originals are left as they are.
    """
    into.mkdir(mode=0o700)
    names: list[str] = []
    unanswered: set[str] = set()
    for path in paths:
        for file in _files(path, folder, workspace):
            shown = file.relative_to(workspace.resolve()).as_posix()
            text, missing = _filled(_read(file, shown), shown, values)
            unanswered |= missing
            (into / f"{len(names):04}-{file.stem[:100]}.yaml").write_text(text, encoding="utf-8")
            names.append(shown)
    return Rendered(into, tuple(names), tuple(sorted(unanswered)))


def _files(path: str, folder: Path, workspace: Path) -> Iterator[Path]:
    """The manifests at `path`: a file, or those directly in a folder, as kubectl has it."""
    top = workspace.resolve()
    found = (folder / path).resolve()
    if not found.is_relative_to(top):
        raise Invalid(f"yamlPath “{path}” leads out of the workspace.")
    if found.is_file():
        yield found
        return
    if not found.is_dir():
        there = sorted(entry.name for entry in _nearest(found).iterdir())[:20]
        raise Invalid(
            f"yamlPath “{path}” is not there. “{_nearest(found).relative_to(top).as_posix()}” "
            f"holds: {', '.join(there) or 'nothing'}."
        )
    inside = [each for each in sorted(found.iterdir()) if each.suffix in ENDINGS]
    if not inside:
        there = sorted(entry.name for entry in found.iterdir())[:20]
        raise Invalid(
            f"The folder “{path}” has no manifest (*.yaml, *.yml, *.json). It holds: "
            f"{', '.join(there) or 'nothing'}."
        )
    for each in inside:
        if not each.resolve().is_relative_to(top):
            raise Invalid(f"“{each.name}” in “{path}” is a link that leads out of the workspace.")
        yield each.resolve()


def _nearest(path: Path) -> Path:
    """The innermost folder on the way to `path` that exists."""
    return next(folder for folder in path.parents if folder.is_dir())


def _read(file: Path, shown: str) -> str:
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Invalid(f"“{shown}” is not a plain file.")
        data = stream.read(MOST + 1)
    if len(data) > MOST:
        raise Invalid(f"“{shown}” is larger than {MOST} bytes, which no manifest is.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"“{shown}” is not text in UTF-8.") from error


def _filled(text: str, shown: str, values: Mapping[str, str]) -> tuple[str, set[str]]:
    filling = _Filling(values)
    try:
        documents = list(yaml.compose_all(text, yaml.SafeLoader))
        for document in documents:
            filling.fill(document)
        written = [
            # kubectl wants the separator on a line of its own, before whatever follows.
            "---\n" + yaml.serialize(each, Dumper=yaml.SafeDumper, allow_unicode=True, width=2**20)
            for each in documents
        ]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise Invalid(f"“{shown}”{place} is not valid YAML: {_said(error)}.") from error
    except RecursionError as error:
        raise Invalid(f"“{shown}” is nested too deeply.") from error
    return "".join(written), filling.unanswered


def _said(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0][:200]


class _Filling:
    """Puts values for ${names} into the scalars of a tree, each node once."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.unanswered: set[str] = set()
        self._values = values
        self._seen: set[int] = set()

    def fill(self, node: yaml.Node) -> None:
        # A node that aliases name is one node, and may even hold itself.
        if id(node) in self._seen:
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            self._fill_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            for each in node.value:
                self.fill(each)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self.fill(key)
                self.fill(value)

    def _fill_scalar(self, node: yaml.ScalarNode) -> None:
        filled = PLACE.sub(self._answer, node.value)
        if filled == node.value:
            return
        node.value = filled
        if node.style is None and node.tag == "tag:yaml.org,2002:str":
            # Written without quotes it is what it reads like: `replicas: ${count}` is a number.
            node.tag = _tag_of(filled)

    def _answer(self, match: re.Match[str]) -> str:
        if match[1] not in self._values:
            self.unanswered.add(match[1])
            return match[0]
        return self._values[match[1]]


def _tag_of(plain: str) -> str:
    """What YAML takes a text for that is written without quotes."""
    resolve = yaml.SafeLoader("").resolve
    return str(resolve(yaml.ScalarNode, plain, (True, False)))  # type: ignore[no-untyped-call]
