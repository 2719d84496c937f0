from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "pipelines"
    verbose_name = "Pipelines"

    def ready(self) -> None:
        from pipelines import git, images, sources, steps

        sources.register(git.GitSource())
        sources.register(images.ImageSource())
        sources.register(sources.PipelineSource())
        steps.register_own()
