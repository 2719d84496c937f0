"""The rules of the house, checked: what imports what, what is named, and what nobody writes."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import CheckConstraint, Model, UniqueConstraint

ROOT = Path(settings.BASE_DIR)
OURS = ("accounts", "pipelines", "promotion", "config")
LONGEST = 450
MODELS = [
    model
    for label in OURS
    for model in apps.get_app_config(label).get_models(include_auto_created=True)
]


def modules(*packages: str) -> list[Path]:
    return sorted(
        path
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if "migrations" not in path.parts
    )


def committed() -> list[Path]:
    """Every file that git keeps or would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# ---- Imports -----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", modules("pipelines"), ids=lambda path: str(path.relative_to(ROOT)))
def test_pipelines_knows_nothing_of_promotion(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] == "promotion"]
    # Nor by a name in a text, as an app's models or a late import would have it.
    assert not re.search(r"""["']promotion\.""", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", modules("accounts"), ids=lambda path: str(path.relative_to(ROOT)))
def test_accounts_knows_neither_of_the_other_apps(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"promotion", "pipelines"}


def test_every_import_keeps_to_its_layer() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_product_code_imports_the_tests() -> None:
    for path in modules(*OURS, "examples", "bench"):
        assert not [name for name in imports(path) if name.split(".")[0] == "tests"], path


# ---- Models ------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_the_admin_knows_every_model(model: type[Model]) -> None:
    if model._meta.auto_created:
        return
    registered = admin.site._registry.get(model)
    assert registered is not None
    assert registered.list_display != ("__str__",)


def _is_a_sentence(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name)) and not re.search(
        r"_[0-9a-f]{8}(_|$)|_(idx|uniq|check|pk)$", name
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_constraint_and_every_index_has_a_name_that_somebody_gave_it(
    model: type[Model],
) -> None:
    if model._meta.auto_created or model._meta.app_label == "accounts":
        return
    for constraint in model._meta.constraints:
        assert isinstance(constraint, (CheckConstraint, UniqueConstraint))
        assert _is_a_sentence(constraint.name), constraint.name
    for index in model._meta.indexes:
        assert _is_a_sentence(index.name), index.name
        assert len(index.name) <= 30
    assert not model._meta.unique_together
    for field in model._meta.get_fields():
        indexed = getattr(field, "db_index", False) and not field.is_relation
        assert not indexed or getattr(field, "unique", False), f"{field.name}: unnamed index"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_state_is_held_by_a_constraint(model: type[Model]) -> None:
    names = {field.name for field in model._meta.get_fields()}
    if "state" not in names:
        return
    checks = [each for each in model._meta.constraints if isinstance(each, CheckConstraint)]
    assert any(each.name.endswith("_state_is_known") for each in checks)


# ---- Files -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", modules(*OURS, "examples"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: look for a seam"


def test_no_committed_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's setting: a pinned host would bind it to one."""
    # Written in pieces, so that this file itself names none.
    hosts = ["pypi." + "org", "python" + "hosted.org", "npmjs." + "com", "npmjs." + "org"]
    words = re.compile("|".join(re.escape(host) for host in hosts).encode(), re.I)
    options = re.compile(rb"(?<!--no-emit-index-url)\s--(extra-)?index-url\b|--trusted-host\b")
    guilty = [
        path.relative_to(ROOT).as_posix()
        for path in committed()
        if path != Path(__file__)
        and (words.search(content := path.read_bytes()) or options.search(content))
    ]
    assert guilty == []


TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
COMMENT = re.compile(r"{%\s*comment.*?endcomment\s*%}|{#.*?#}|<!--.*?-->", re.S)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_carries_style_script_or_handlers(path: Path) -> None:
    text = COMMENT.sub("", path.read_text(encoding="utf-8"))
    assert not re.search(r"<style\b", text, re.I)
    assert not re.search(r"\sstyle\s*=", text, re.I)
    assert not re.search(r"<script(?![^>]*\ssrc\s*=)", text, re.I)
    assert not re.search(r"<[^>]*\son[a-z]+\s*=\s*[\"']", text, re.I)
    assert not re.search(r"(href|src|action)\s*=\s*[\"']\s*javascript:", text, re.I)
    assert not re.search(r"\bhx-on\b|\bhx-vals\s*=\s*[\"']js:", text, re.I)
    assert "|safe" not in text
    assert "autoescape off" not in text
    for source in re.findall(r"<(?:script|link|img)\b[^>]*?(?:src|href)\s*=\s*\"([^\"]+)\"", text):
        assert not source.startswith(("http:", "https:", "//")), source


@pytest.mark.parametrize("path", modules(*OURS), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_marks_text_as_safe_or_runs_a_shell(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "shell=True" not in text
    assert "os.system" not in text
    assert not re.search(r"\b(eval|exec)\(", text)
    assert not re.search(r"\bpickle\b|yaml\.(unsafe_)?load\(", text)
    assert "@csrf_exempt" not in text


def test_every_migration_is_named() -> None:
    for package in ("accounts", "pipelines", "promotion"):
        for path in (ROOT / package / "migrations").glob("0*.py"):
            assert "_auto_" not in path.name, path.name
