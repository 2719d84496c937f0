from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "pipelines"
    verbose_name = "Pipelines"

    def ready(self) -> None:
        from django.db.models import Exists, OuterRef

        from pipelines import collecting, git, images, sources, steps
        from pipelines.models import Artifact, ArtifactFile

        sources.register(git.GitSource())
        sources.register(images.ImageSource())
        sources.register(sources.PipelineSource())
        steps.register_own()
        collecting.register(lambda: Exists(ArtifactFile.objects.filter(blob=OuterRef("pk"))))
        collecting.register(lambda: Exists(Artifact.objects.filter(bundle=OuterRef("pk"))))
