from django.apps import AppConfig


class PromotionConfig(AppConfig):
    name = "promotion"
    verbose_name = "Promotion"

    def ready(self) -> None:
        from pipelines import runs
        from promotion import sources, uploads

        sources.register()
        uploads.register()
        runs.after_success.append(uploads.PUBLISH)
