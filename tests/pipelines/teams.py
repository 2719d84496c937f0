"""Two teams and a connection: ada and finn are in the shop, ben is in the office, gus in neither.

finn and gus are developers like ada.
"""

from dataclasses import dataclass

from django.contrib.auth.models import Group

from accounts.models import Role, User
from pipelines import connections, definitions, runs
from pipelines.models import Run, ServiceConnection
from tests.cast import Site, make_pipeline
from tests.pipelines.working import command, job, yaml

PASSWORD = "open sesame & close: the/door+again"
NEW = "another sesame"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n"
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: shop
contexts: [{name: shop, context: {cluster: shop, user: robot}}]
clusters: [{name: shop, cluster: {server: "https://cluster.example.com:6443"}}]
users: [{name: robot, user: {token: "open sesame & close: the/door+again"}}]
"""
NAMING = yaml(
    {
        "only": job(
            {
                "step": "DockerLogin",
                "with": {
                    "dockerRepository": "registry.example.com/shop/app",
                    "serviceConnection": "registry",
                },
            }
        )
    }
)
QUIET = yaml({"only": job(command("true"))})


@dataclass(frozen=True)
class Teams:
    site: Site
    shop: Group
    office: Group
    finn: User
    gus: User
    connection: ServiceConnection

    def everyone(self) -> dict[str, User]:
        return {**self.site.cast.everyone(), "finn": self.finn, "gus": self.gus}

    def user(self, name: str) -> User:
        return User.objects.get(username=name)

    def run(self, *, author: User, starter: User, text: str = QUIET) -> Run:
        """A run of a definition that `author` wrote, started by `starter`."""
        pipeline = make_pipeline(self.site.cast.ada, "work", QUIET)
        definitions.revise(pipeline, text + f"\n# by {author.username}\n", by=author)
        pipeline.refresh_from_db()
        run = runs.start(pipeline, by=starter)
        return Run.objects.select_related("revision__created_by", "started_by").get(pk=run.pk)


def make_teams(site: Site) -> Teams:
    shop, office = (Group.objects.create(name=name) for name in ("shop", "office"))
    finn, gus = (
        User.objects.create_user(name, password=f"{name}'s", roles=[Role.DEVELOPER.value])
        for name in ("finn", "gus")
    )
    for user in (site.cast.ada, finn):
        user.groups.add(shop)
    site.cast.ben.groups.add(office)
    return Teams(site, shop, office, finn, gus, registry_of(site.cast.ada, shop))


def registry_of(by: User, team: Group, name: str = "registry") -> ServiceConnection:
    return connections.create(
        name,
        "registry",
        by=by,
        team=team,
        host="registry.example.com",
        settings={"username": "robot"},
        secrets={"password": PASSWORD},
        description="Pushes what the shop builds.",
    )
