"""The step `SetupJava`: a JDK and Maven of the worker come onto the path of the steps after it.

Nothing is downloaded: a worker has what its operator installed. A JDK is found by its feature
release (`1.8` and `8` are the same), Maven may be newer than asked within its major version.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from pipelines.steps.base import StepContext, StepFailed

JDK_FOLDERS = ("/usr/lib/jvm", "/opt/java", "/opt/jdk", "/opt")
MAVEN_FOLDERS = ("/usr/share", "/opt")
RELEASE = re.compile(r'^JAVA_VERSION="([^"]+)"', re.M)
CORE = re.compile(r"maven-core-(\d+(?:\.\d+)*)\.jar\Z")


def run(context: StepContext) -> None:
    jdk = _jdk(context.text("jdkVersion"))
    context.environment["JAVA_HOME"] = str(jdk)
    context.path.append(str(jdk / "bin"))
    context.log.say(f"JDK {_jdk_version(jdk)} in {jdk}")
    wanted = context.text("mavenVersion")
    maven = _maven(wanted)
    if maven is None:
        context.log.say(f"this worker has no Maven {wanted} or newer: mvn may not be found")
        return
    context.environment["M2_HOME"] = str(maven)
    context.path.append(str(maven / "bin"))
    context.log.say(f"Maven {_maven_version(maven)} in {maven}, asked for: {wanted}")


# ---- JDKs --------------------------------------------------------------------------------------
def _jdk(wanted: str) -> Path:
    if mapped := settings.JDKS.get(wanted):
        if (Path(mapped) / "bin" / "java").exists():
            return Path(mapped)
        raise StepFailed(f"SLUICE_JDKS says that JDK {wanted} is in {mapped}, and it is not.")
    there = {home: _jdk_version(home) for home in _jdks()}
    for home, version in there.items():
        if _feature(version) == _feature(wanted):
            return home
    has = ", ".join(sorted(set(there.values()))) or "none"
    raise StepFailed(
        f"This worker has no JDK {wanted}. It has: {has}. Install one below {JDK_FOLDERS[0]}, or "
        f"say where it is with SLUICE_JDKS={wanted}=/path/to/jdk."
    )


def _jdks() -> Iterator[Path]:
    seen = set()
    for folder in JDK_FOLDERS:
        for home in sorted(Path(folder).glob("*")):
            real = home.resolve()
            if real not in seen and (real / "bin" / "java").exists() and _jdk_version(real):
                seen.add(real)
                yield real


def _jdk_version(home: Path) -> str:
    try:
        found = RELEASE.search((home / "release").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _feature(version: str) -> str:
    """`1.8`, `1.8.0_392` and `8` are 8; `17.0.15` and `17` are 17."""
    parts = re.split(r"[._+-]", version)
    return parts[1] if parts[0] == "1" and len(parts) > 1 else parts[0]


# ---- Maven -------------------------------------------------------------------------------------
def _maven(wanted: str) -> Path | None:
    if mapped := settings.MAVENS.get(wanted):
        return Path(mapped)
    fitting = [
        home
        for folder in MAVEN_FOLDERS
        for home in sorted(Path(folder).glob("*maven*"))
        if (home / "bin" / "mvn").exists() and _fits(_maven_version(home), wanted)
    ]
    return min(fitting, key=lambda home: _numbers(_maven_version(home)), default=None)


def _maven_version(home: Path) -> str:
    jars = (CORE.search(jar.name) for jar in (home / "lib").glob("maven-core-*.jar"))
    return next((found[1] for found in jars if found), "")


def _fits(version: str, wanted: str) -> bool:
    has, asked = _numbers(version), _numbers(wanted)
    return bool(has) and has[:1] == asked[:1] and has >= asked


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])
