from django.apps import AppConfig


class PromotionConfig(AppConfig):
    name = "promotion"
    verbose_name = "Promotion"

    def ready(self) -> None:
        from django.db.models import Exists, OuterRef

        from pipelines import collecting, runs, usage
        from promotion import sources, targets, uploads
        from promotion.models import Version, VersionFile

        sources.register()
        uploads.register()
        runs.after_success.append(uploads.PUBLISH)
        usage.register(targets.uses_of)
        collecting.register(lambda: Exists(VersionFile.objects.filter(blob=OuterRef("pk"))))
        collecting.register(lambda: Exists(Version.objects.filter(bundle=OuterRef("pk"))))
