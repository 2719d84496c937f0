"""The step `Command`: a script of the definition, run by a shell in the job's workspace."""

import shutil

from pipelines.steps.base import StepContext


def run(context: StepContext) -> None:
    # The script is a file of its own: nothing of it ever becomes part of a command line.
    script = context.place.own / f"{context.made_at.step}.sh"
    script.write_text(context.text("run"), encoding="utf-8")
    script.chmod(0o644)
    shell = "bash" if context.job.container or shutil.which("bash") else "/bin/sh"
    context.must_call([shell, "-e", str(script)])
