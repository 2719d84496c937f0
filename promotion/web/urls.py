"""The addresses of the pages about what may go where.

No name begins with a hyphen, so /-/ is free for pages of a list itself.
"""

from django.urls import path

from promotion.web import (
    acts,
    boards,
    environments,
    evidence_keys,
    files,
    history,
    notices,
    placing,
    policies,
    policy_editor,
    policy_revisions,
    promotions,
    publishing,
    recalls,
    registries,
    repositories,
    retention,
    selections,
    storage,
    versions,
    webhooks,
)

app_name = "promotion"

REPOSITORY = "repositories/<str:repository>"
PACKAGE = f"{REPOSITORY}/<str:package>"
VERSION = f"{PACKAGE}/<str:version>"
ENVIRONMENT = "environments/<str:environment>"
PROMOTION = "promotions/<int:promotion_id>"
WEBHOOK = "webhooks/<str:webhook>"

urlpatterns = [
    # What is where, and what waits
    path("", boards.board, name="board"),
    path("waiting/", boards.inbox, name="inbox"),
    path("notices/", notices.notice_list, name="notices"),
    path("notices/read/", notices.notices_read, name="notices_read"),
    path("notices/<int:notice_id>/read/", notices.notice_read, name="notice_read"),
    # Repositories, packages, versions
    path("repositories/", repositories.repository_list, name="repository_list"),
    path("repositories/-/new/", repositories.repository_new, name="repository_new"),
    path(f"{REPOSITORY}/", repositories.repository, name="repository"),
    path(f"{REPOSITORY}/-/registry/", registries.registry, name="repository_registry"),
    path(f"{REPOSITORY}/-/registry/try/", registries.try_registry, name="registry_try"),
    path(f"{REPOSITORY}/-/retention/", retention.rules, name="repository_retention"),
    path(f"{PACKAGE}/", repositories.package, name="package"),
    path(f"{VERSION}/", versions.version, name="version"),
    path(f"{VERSION}/files/<path:path>", files.version_file, name="version_file"),
    path(f"{VERSION}/look/", versions.look, name="version_look"),
    path(f"{VERSION}/hold/", acts.hold, name="version_hold"),
    path(f"{VERSION}/recall/", versions.recall, name="version_recall"),
    path(
        f"{VERSION}/affected/<int:affected_id>/acknowledge/",
        recalls.acknowledge,
        name="recall_acknowledge",
    ),
    path("artifacts/<int:artifact_id>/publish/", publishing.publish, name="publish"),
    path("selections/<int:selection_id>/", selections.selection, name="selection"),
    # Environments and their policies
    path("environments/", environments.environment_list, name="environment_list"),
    path("environments/-/new/", policies.environment_new, name="environment_new"),
    path(f"{ENVIRONMENT}/", environments.environment, name="environment"),
    path(f"{ENVIRONMENT}/policy/", policy_editor.policy, name="policy"),
    path(f"{ENVIRONMENT}/policy/yaml/", policy_editor.policy_yaml, name="policy_yaml"),
    path(f"{ENVIRONMENT}/policy/check/", policy_editor.policy_check, name="policy_check"),
    path(
        f"{ENVIRONMENT}/policy/revisions/",
        policy_revisions.revision_list,
        name="policy_revision_list",
    ),
    path(
        f"{ENVIRONMENT}/policy/revisions/<int:number>/",
        policy_revisions.revision,
        name="policy_revision",
    ),
    path(
        f"{ENVIRONMENT}/policy/revisions/<int:number>/download/",
        policy_revisions.download,
        name="policy_download",
    ),
    path(f"{ENVIRONMENT}/target/", policies.target, name="target"),
    path(f"{ENVIRONMENT}/target/try/", policies.try_target, name="target_try"),
    path(f"{ENVIRONMENT}/holds/<int:hold_id>/lift/", acts.lift, name="hold_lift"),
    path(
        f"{ENVIRONMENT}/placements/<str:repository>/<str:package>/roll-back/",
        placing.roll_back,
        name="placement_roll_back",
    ),
    # Promotions
    path("promotions/", promotions.promotion_list, name="promotion_list"),
    path("promotions/new/", placing.promotion_new, name="promotion_new"),
    path(f"{PROMOTION}/", promotions.promotion, name="promotion"),
    path(f"{PROMOTION}/progress/", promotions.progress, name="promotion_progress"),
    path(f"{PROMOTION}/approve/", promotions.approve, name="promotion_approve"),
    path(f"{PROMOTION}/reject/", promotions.reject, name="promotion_reject"),
    path(f"{PROMOTION}/withdraw/", promotions.withdraw, name="promotion_withdraw"),
    path(f"{PROMOTION}/retry/", promotions.retry, name="promotion_retry"),
    # Whose signature counts
    path("evidence-keys/", evidence_keys.key_list, name="evidence_keys"),
    path("evidence-keys/<str:name>/revoke/", evidence_keys.revoke, name="evidence_key_revoke"),
    # Webhooks
    path("webhooks/", webhooks.webhook_list, name="webhook_list"),
    path("webhooks/-/new/", webhooks.webhook_new, name="webhook_new"),
    path(f"{WEBHOOK}/", webhooks.webhook, name="webhook"),
    path(f"{WEBHOOK}/test/", webhooks.webhook_test, name="webhook_test"),
    path(f"{WEBHOOK}/rotate/", webhooks.webhook_rotate, name="webhook_rotate"),
    path(f"{WEBHOOK}/enable/", webhooks.webhook_enable, name="webhook_enable"),
    path(f"{WEBHOOK}/remove/", webhooks.webhook_remove, name="webhook_remove"),
    path(
        f"{WEBHOOK}/deliveries/<int:delivery_id>/redeliver/",
        webhooks.webhook_redeliver,
        name="webhook_redeliver",
    ),
    path(f"{PROMOTION}/override/", acts.override, name="promotion_override"),
    path(f"{PROMOTION}/review/", acts.review, name="promotion_review"),
    # Audit
    path("storage/", storage.overview, name="storage"),
    path("history/", history.history, name="history"),
    path("history/<int:sequence>/", history.entry, name="history_entry"),
]
