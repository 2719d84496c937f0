"""Every way in which promotion refuses; the families stand in pipelines/errors.py."""

from collections.abc import Sequence

from pipelines.errors import BytesGone, Conflict, Forbidden, Gone, NotFound
from promotion.gates import GateResult


class VersionExists(Conflict):
    code = "version_exists"
    title = "This version exists with other bytes"


class NotValidated(Conflict):
    code = "not_validated"
    title = "The run behind this artifact has not succeeded"


class NotPromoted(Conflict):
    code = "not_promoted"
    title = "This version is not placed in that environment"


class Recalled(Gone):
    code = "recalled"
    title = "This version was recalled"


class Pruned(BytesGone):
    code = "pruned"
    title = "This version was pruned: its bytes are no longer kept"


class NoEligibleVersion(NotFound):
    code = "no_eligible_version"
    title = "No version answers this request"


class SelfApproval(Forbidden):
    code = "self_approval"
    title = "Your own request needs somebody else's decision"


class SecondFactorRequired(Forbidden):
    code = "second_factor_required"
    title = "This approval needs a passkey's signature"


class SecondFactorRefused(Forbidden):
    code = "second_factor_refused"
    title = "The passkey's signature was not accepted"


class PlanChanged(Conflict):
    code = "plan_changed"
    title = "What you saw is not what would happen"


class GateClosed(Conflict):
    code = "gate_closed"
    title = "A gate of the environment's policy is closed"

    @classmethod
    def by(cls, closed: Sequence[GateResult]) -> "GateClosed":
        """The refusal by these gates, in the sentences with which they are closed."""
        return cls(
            " ".join(gate.reason for gate in closed),
            closed_gates=[gate.as_json() for gate in closed],
        )


class NotCarried(Conflict):
    code = "not_carried"
    title = "The bytes did not arrive where the environment keeps its own"


class AlreadyHeld(Conflict):
    code = "already_held"
    title = "The version is held there already"


class AlreadyOverridden(Conflict):
    code = "already_overridden"
    title = "The gates were overridden already"


class AlreadyPlaced(Conflict):
    code = "already_placed"
    title = "The environment has this version already"
