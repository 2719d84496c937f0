"""STAND-INS for a JDK 1.8 and a Maven 3.5.2, in the folders in which SetupJava looks for real ones.

Neither can be had everywhere, and Maven's plugins come from a registry of its own. The stand-in
`mvn` keeps the arguments that it was called with and packs the sources into target/, as the build
would leave its output there. That SetupJava finds real ones is tested on folders like theirs.
"""

from pathlib import Path

MVN = """#!/bin/sh
set -e
test -n "$JAVA_HOME"
"$JAVA_HOME/bin/java" -version
mkdir -p target
echo "$@" > target/mvn.args
cp deploy.sh target/deploy.sh
"""
JAVA = "#!/bin/sh\necho 'stand-in for java 1.8.0_392' >&2\n"


def jdk(folder: Path, version: str = "1.8.0_392") -> Path:
    home = folder / f"jdk-{version}"
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="nobody"\nJAVA_VERSION="{version}"\n')
    _program(home / "bin" / "java", JAVA)
    return home


def maven(folder: Path, version: str = "3.5.2") -> Path:
    home = folder / f"apache-maven-{version}"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    (home / "lib" / f"maven-core-{version}.jar").touch()
    _program(home / "bin" / "mvn", MVN)
    return home


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
