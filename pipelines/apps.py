from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "pipelines"
    verbose_name = "Pipelines"

    def ready(self) -> None:
        from django.db.models import Exists, OuterRef

        from pipelines import collecting, git, images, sources, steps
        from pipelines.models import Artifact, ArtifactFile, UploadFile, UploadPart, UploadState

        sources.register(git.GitSource())
        sources.register(images.ImageSource())
        sources.register(sources.PipelineSource())
        steps.register_own()
        # A pruned artifact keeps its rows, and no byte.
        files = ArtifactFile.objects.filter(artifact__pruned_at__isnull=True)
        bundles = Artifact.objects.with_bytes()
        collecting.register(lambda: Exists(files.filter(blob=OuterRef("pk"))))
        collecting.register(lambda: Exists(bundles.filter(bundle=OuterRef("pk"))))
        sent = UploadFile.objects.filter(upload__state=UploadState.OPEN)
        collecting.register(lambda: Exists(sent.filter(blob=OuterRef("pk"))))
        # Once a file is joined, its parts have done their work.
        parts = UploadPart.objects.filter(
            file__upload__state=UploadState.OPEN, file__blob__isnull=True
        )
        collecting.register(lambda: Exists(parts.filter(blob=OuterRef("pk"))))
