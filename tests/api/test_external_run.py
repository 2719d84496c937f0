"""Another CI system builds; Sluice promotes what it reports. The main job in calls alone."""

import hashlib

from promotion import promoting
from tests.api.calls import ITEM
from tests.api.conftest import People, Things
from tests.api.test_uploads import FORM, digest, form


def test_what_another_ci_reports_is_published_promoted_and_resolved(
    people: People, things: Things
) -> None:
    ada, ben, production = people.ada, people.ben, people.production
    content = b"built elsewhere"
    run = ada.post(
        "pipelines/app/runs/",
        {"external": True, "url": "https://ci.example/42", "commit": "c0ffee", "comment": "42"},
    ).json
    assert (run["status"], run["trigger"]) == ("running", "external")
    path = f"pipelines/app/runs/{run['number']}/"

    body = form(("app.bin", content), artifact="app")
    artifact = ada.call("POST", f"{path}artifacts/", body, content_type=FORM,
                        Repr_Digest=digest(content)).json  # fmt: skip
    early = {"version": "4.2.0", "artifact": artifact["id"]}
    versions = "repositories/apps/packages/app/versions/"
    ada.refused("POST", versions, early, status=409, code="not_validated")
    assert ada.post(f"{path}finish/", {"status": "succeeded"}, expect=200).json["finished_at"]

    published = ada.post(
        versions,
        {
            "version": "4.2.0",
            "pipeline": "app",
            "run": run["number"],
            "reference": artifact["reference"],
            "notes": "Built elsewhere.",
        },
    ).json
    assert published["manifest_digest"] == artifact["digest"]
    assert published["provenance"]["commit"] == "c0ffee"
    assert published["provenance"]["url"] == "https://ci.example/42"
    ada.post(f"{versions}4.2.0/evidence/", {"predicate_type": "tests", "result": "passed"})

    for environment in ("staging", "production"):
        wanted = {"environment": environment, "items": [{**ITEM, "version": "4.2.0"}]}
        plan = ada.post("promotions/plan/", wanted, expect=200).json
        assert {gate["name"]: gate["open"] for gate in plan["gates"]}["approvals"] is False
        assert plan["diff"][0]["files"]
        requested = ada.post(
            "promotions/", {**wanted, "plan_digest": plan["plan_digest"], "comment": "Ready."}
        ).json
        decision = {"plan_digest": plan["plan_digest"], "comment": "Looks right."}
        ada.refused("POST", f"promotions/{requested['id']}/approve/", decision,
                    status=403, code="self_approval")  # fmt: skip
        approved = ben.post(f"promotions/{requested['id']}/approve/", decision, expect=200).json
        assert approved["state"] == "approved"
        promoting.execute(requested["id"])
        done = ben.get(f"promotions/{requested['id']}/").json
        assert done["state"] == "completed"
        assert [each["what"] for each in done["timeline"]] == ["requested", "approved", "completed"]
        assert done["approvals"][0]["plan_digest"] == plan["plan_digest"]

    resolved = production.get("repositories/apps/packages/app/resolve/?environment=production").json
    assert resolved["version"] == "4.2.0"
    (file,) = resolved["files"]
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    link = "/" + resolved["artifact"]["downloadUrl"].split("/", 3)[3]
    assert production.get(link).content == content
    picked = production.post(
        "selections/",
        {"repository": "apps", "package": "app", "environment": "production", "version": "4.2.0"},
    ).json
    assert picked["manifest_digest"] == published["manifest_digest"]

    back = ada.post(
        "promotions/rollback/",
        {"environment": "production", "repository": "apps", "package": "app"},
    ).json
    assert (back["kind"], back["items"][0]["version"]) == ("rollback", "1.0.1")
