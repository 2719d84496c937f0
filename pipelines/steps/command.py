"""The step `Command`: a script of the definition, run by a shell in the job's workspace."""

import shutil

from pipelines.steps.base import OWN_FOLDER, StepContext, StepFailed


def run(context: StepContext) -> None:
    # The script is a file of its own: nothing of it ever becomes part of a command line.
    script = context.workspace / OWN_FOLDER / f"{context.place.step}.sh"
    script.write_text(context.text("run"), encoding="utf-8")
    shell = shutil.which("bash") or "/bin/sh"
    ended = context.call([shell, "-e", str(script)])
    if ended.stopped == "timeout":
        raise StepFailed("It took longer than the job's timeoutMinutes allow.", ended.exit_code)
    if ended.stopped:
        raise StepFailed(ended.stopped, ended.exit_code)
    if ended.exit_code < 0:
        raise StepFailed(f"It was killed by signal {-ended.exit_code}.", ended.exit_code)
    if ended.exit_code:
        raise StepFailed(f"It ended with exit code {ended.exit_code}.", ended.exit_code)
