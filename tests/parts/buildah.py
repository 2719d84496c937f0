"""A real buildah, which builds images without a daemon and without root."""

from tests.parts.programs import Program

BUILDAH = Program("buildah", "buildah", "BUILDAH", ("--version",))


def find() -> str | None:
    return BUILDAH.find()


def install() -> None:
    BUILDAH.install()


def path() -> str:
    return BUILDAH.path()
