"""Get every program that the tests start, before the first of them runs.

python -m tests.parts.tools
"""

import sys

from tests.parts import buildah, git_server, kubectl, nginx, registry, s3, skopeo, strace
from tests.parts.programs import Missing

PARTS = {
    "git's HTTP server": git_server,
    "docker-registry": registry,
    "buildah": buildah,
    "skopeo": skopeo,
    "kubectl": kubectl,
    "weed, which speaks S3": s3,
    "strace": strace,
    "nginx": nginx,
}


def main() -> int:
    missing = []
    for name, part in PARTS.items():
        if part.find() is not None:
            continue
        sys.stdout.write(f"Installing {name} for the tests …\n")
        sys.stdout.flush()
        try:
            part.install()
        except Missing as problem:
            missing.append(str(problem))
    sys.stderr.writelines(f"{each}\n" for each in missing)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
