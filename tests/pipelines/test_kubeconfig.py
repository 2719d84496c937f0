"""Kubeconfigs: what of them is taken over, and what is refused."""

import json
from ipaddress import ip_network
from typing import Any

import pytest
import yaml
from django.test import override_settings

from pipelines import kubeconfig
from pipelines.destinations import DestinationForbidden
from pipelines.errors import Invalid


def config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> str:
    return yaml.safe_dump(
        {
            "current-context": "here",
            "contexts": [
                {"name": "there", "context": {"cluster": "other", "user": "other"}},
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "n"}},
            ],
            "clusters": [
                {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", **(cluster or {})}}
            ],
            "users": [
                {"name": "u", "user": {"token": "t0ken", **(user or {})}},
                {"name": "other", "user": {"exec": {"command": "/bin/evil"}}},
            ],
            "preferences": {"colors": True},
        }
    )


def rendered(text: str, *, skip: bool = False) -> dict[str, Any]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),)):
        found: dict[str, Any] = json.loads(kubeconfig.parse(text).render(skip_tls_verify=skip))
    return found


def test_only_the_current_context_is_taken_over() -> None:
    made = rendered(config({"certificate-authority-data": "YQ=="}))
    assert made["clusters"] == [
        {
            "name": "sluice",
            "cluster": {
                "server": "https://127.0.0.1:6443",
                "certificate-authority-data": "YQ==",
                "tls-server-name": "127.0.0.1",
            },
        }
    ]
    assert made["users"] == [{"name": "sluice", "user": {"token": "t0ken"}}]
    assert made["contexts"][0]["context"] == {"cluster": "sluice", "user": "sluice"}
    assert "preferences" not in made


def test_a_name_is_pinned_to_its_address_and_still_asked_for_in_tls() -> None:
    made = rendered(config({"server": "https://localhost:6443/k8s/c-1"}))
    cluster = made["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:6443/k8s/c-1"
    assert cluster["tls-server-name"] == "localhost"


def test_skipping_the_check_of_certificates_leaves_the_authority_out() -> None:
    made = rendered(config({"certificate-authority-data": "YQ=="}), skip=True)
    cluster = made["clusters"][0]["cluster"]
    assert cluster["insecure-skip-tls-verify"] is True
    assert "certificate-authority-data" not in cluster


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({}, {"exec": {"command": "/bin/evil"}}, "“exec”, which cannot be used: it starts a prog"),
        ({}, {"auth-provider": {"name": "gcp"}}, "“auth-provider”"),
        ({}, {"tokenFile": "/etc/shadow"}, "Store the token itself"),
        ({}, {"client-key": "/etc/shadow"}, "Store it as client-key-data"),
        ({}, {"client-certificate": "x"}, "Store it as client-certificate-data"),
        ({"certificate-authority": "/x"}, {}, "Store it as certificate-authority-data"),
        ({"proxy-url": "http://127.0.0.1"}, {}, "a proxy would reach"),
        ({"surprise": 1}, {}, "“surprise”, which cannot be used: it is not known here"),
        ({"server": "http://127.0.0.1"}, {}, "an address like https://"),
        ({"server": "https://a:b@127.0.0.1"}, {}, "an address like https://"),
        ({"server": "unix:///run/x"}, {}, "an address like https://"),
        ({"server": 7}, {}, "an address like https://"),
    ],
)
def test_what_starts_programs_reads_files_or_leads_astray_is_refused(
    cluster: dict[str, Any], user: dict[str, Any], says: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        kubeconfig.parse(config(cluster, user))
    assert says in refusal.value.detail
    assert "t0ken" not in refusal.value.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must be a mapping"),
        ("[]", "must be a mapping"),
        ("{", "not valid YAML, line 1"),
        ("a: &x 1\nb: *x", "alias"),
        ("a: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("current-context: x", "no context “x” in its contexts"),
        ("contexts: []", "no current-context"),
        ("x" * 300_000, "longer than"),
        ("[" * 5_000, "not valid YAML"),
    ],
)
def test_what_is_no_kubeconfig_is_refused(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refusal:
        kubeconfig.parse(text)
    assert says in refusal.value.detail


def test_a_message_about_bad_yaml_quotes_none_of_it() -> None:
    with pytest.raises(Invalid) as refusal:
        kubeconfig.parse("token: s3cret: :\n  - }")
    assert "s3cret" not in refusal.value.detail
    assert refusal.value.__cause__ is None


def test_a_server_that_leads_inward_is_refused_when_it_is_to_be_used() -> None:
    access = kubeconfig.parse(config())
    with pytest.raises(DestinationForbidden):
        access.render(skip_tls_verify=False)


def test_printing_an_access_shows_no_secret() -> None:
    assert "t0ken" not in repr(kubeconfig.parse(config()))
