"""The step `Command`: a script of the definition, run by a shell in the job's workspace."""

import shutil

from pipelines.steps.base import StepContext

BASH_OR_SH = 'if command -v bash >/dev/null; then exec bash -e "$1"; fi; exec /bin/sh -e "$1"'


def run(context: StepContext) -> None:
    # The script is a file of its own: nothing of it ever becomes part of a command line.
    script = context.place.own / f"{context.made_at.step}.sh"
    script.write_text(context.text("run"), encoding="utf-8")
    # References are filled in, and a signed link among them needs no sign-in.
    script.chmod(0o600)
    context.place.give(script)
    if context.job.container:
        # Whether the image has a bash only shows inside it.
        context.must_call(["/bin/sh", "-c", BASH_OR_SH, "sh", str(script)])
    else:
        context.must_call([shutil.which("bash") or "/bin/sh", "-e", str(script)])
