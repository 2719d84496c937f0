"""What of a policy's protection a new one would take away. Pure."""

from collections.abc import Iterator

from promotion.gates.language import Rules


def lowered(old: Rules, new: Rules) -> tuple[str, ...]:
    """In sentences, where fewer or other people must approve than before."""
    return tuple(_lowered(old, new))


def _lowered(old: Rules, new: Rules) -> Iterator[str]:
    for rollback, what in ((False, "A promotion"), (True, "A rollback")):
        before, after = (each.approvals_for(rollback=rollback) for each in (old, new))
        if after < before:
            yield f"{what} needs {_approvals(after)}, not {before}."
    if new.self_approval and not old.self_approval:
        yield "The requester may approve."
    for who, said in (
        ("publisher", "Whoever published a version may approve it."),
        ("run_starter", "Whoever started the run of a version may approve it."),
    ):
        if who in old.not_by and who not in new.not_by:
            yield said
    if new.machines.approve and not old.machines.approve:
        yield "Machines may approve."
    if old.second_factor and not new.second_factor:
        yield "Approvals need no passkey."
    for name in old.approvers.one_from_each:
        if name not in new.approvers.one_from_each:
            yield f"No approval from {name} is needed."
    yield from _wider(old, new)


def _wider(old: Rules, new: Rules) -> Iterator[str]:
    if not old.approvers.groups:
        return
    if not new.approvers.groups:
        yield "Anybody with the role may approve, in whichever group."
        return
    before, after = (
        {*rules.approvers.groups, *rules.approvers.one_from_each} for rules in (old, new)
    )
    if added := sorted(after - before):
        yield f"Members of {', '.join(added)} may approve."


def _approvals(count: int) -> str:
    return {0: "no approval", 1: "1 approval"}.get(count, f"{count} approvals")
