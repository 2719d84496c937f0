"""How each state of anything is shown: its label, tone and icon, in one place for every screen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is shown. The icon's shape and the label both tell it apart,
    so colour (the tone) is never the only signal."""

    label: str
    tone: str
    icon: str


LOOKS: dict[str, Look] = {
    # Runs, jobs and steps. `failed`: the work said no; `errored`: the machinery broke.
    "queued": Look("Queued", "neutral", "circle-dashed"),
    "running": Look("Running", "info", "spinner"),
    "waiting": Look("Waiting", "warning", "pause"),
    "succeeded": Look("Succeeded", "success", "check-circle"),
    "failed": Look("Failed", "danger", "x-circle"),
    "errored": Look("Errored", "danger", "triangle"),
    "cancelled": Look("Cancelled", "neutral", "slash"),
    "skipped": Look("Skipped", "neutral", "skip"),
    # Versions.
    "published": Look("Published", "success", "box"),
    "recalled": Look("Recalled", "danger", "octagon"),
    "pruned": Look("Pruned", "neutral", "scissors"),
    # Images, as their registry has them now.
    "same": Look("As published", "success", "check-circle"),
    "moved": Look("Tag moved", "warning", "triangle"),
    "untagged": Look("Tag removed", "warning", "triangle"),
    "gone": Look("Image gone", "danger", "octagon"),
    "unknown": Look("No answer", "neutral", "hourglass"),
    # Runners.
    "alive": Look("Alive", "success", "check-circle"),
    "silent": Look("Silent", "warning", "hourglass"),
    # Promotions. `completed`, `failed` and `errored` share their look with runs.
    "requested": Look("Requested", "warning", "clock"),
    "approved": Look("Approved", "info", "check"),
    "executing": Look("Executing", "info", "spinner"),
    "completed": Look("Completed", "success", "check-circle"),
    "rejected": Look("Rejected", "danger", "x-circle"),
    "withdrawn": Look("Withdrawn", "neutral", "undo"),
    "expired": Look("Expired", "neutral", "hourglass"),
    "stale": Look("Stale", "warning", "refresh"),
    "overridden": Look("Overridden", "danger", "triangle"),
    "held": Look("Held", "warning", "octagon"),
    # Gates.
    "open": Look("Open", "success", "gate-open"),
    "closed": Look("Closed", "danger", "gate-closed"),
    # Evidence.
    "verified": Look("Verified", "success", "shield"),
    "claimed": Look("Claimed", "warning", "quote"),
    "missing": Look("Missing", "neutral", "circle-minus"),
    # Keys that evidence is checked with.
    "trusted": Look("Trusted", "success", "shield"),
    "revoked": Look("Revoked", "danger", "octagon"),
    # What a promotion does to one package.
    "new": Look("New", "info", "plus"),
    "upgrade": Look("Upgrade", "success", "arrow-up"),
    "rollback": Look("Rollback", "warning", "undo"),
    "unchanged": Look("Unchanged", "neutral", "equal"),
    # What it does to one file.
    "added": Look("Added", "success", "plus"),
    "removed": Look("Removed", "danger", "circle-minus"),
    "changed": Look("Changed", "info", "refresh"),
    # Problem severities and the levels of Django's messages.
    "error": Look("Error", "danger", "x-circle"),
    "warning": Look("Warning", "warning", "triangle"),
    "hint": Look("Hint", "info", "info"),
    "info": Look("Information", "info", "info"),
    "success": Look("Done", "success", "check-circle"),
    "debug": Look("Debug", "neutral", "info"),
}
