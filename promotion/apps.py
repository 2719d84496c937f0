from django.apps import AppConfig


class PromotionConfig(AppConfig):
    name = "promotion"
    verbose_name = "Promotion"

    def ready(self) -> None:
        from django.db.models import Exists, OuterRef

        from accounts import passkeys
        from pipelines import collecting, forgetting, runs, sealing, usage
        from promotion import (
            registries,
            retention,
            second_factor,
            sources,
            targets,
            uploads,
            webhooks,
        )
        from promotion.models import Version, VersionFile

        passkeys.recorders.append(second_factor.record)
        sources.register()
        uploads.register()
        runs.after_success.append(uploads.PUBLISH)
        usage.register(registries.uses_of)
        usage.register(targets.uses_of)
        sealing.others.append((webhooks.rotate_keys, "webhook", "webhooks"))
        # A pruned version keeps its rows, and no byte.
        files = VersionFile.objects.filter(version__pruned_at__isnull=True)
        bundles = Version.objects.with_bytes()
        collecting.register(lambda: Exists(files.filter(blob=OuterRef("pk"))))
        collecting.register(lambda: Exists(bundles.filter(bundle=OuterRef("pk"))))
        for need in retention.NEEDS:
            forgetting.register(need)
