"""Where Sluice may connect to: the one home of the rule that keeps it from being sent inward.

Operators open inner networks in the settings (SLUICE_ALLOWED_NETWORKS), never in the browser.
"""

import ipaddress
import socket

from django.conf import settings

from pipelines.errors import BadRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class DestinationForbidden(BadRequest):
    code = "destination_forbidden"
    title = "Sluice may not connect there"


def allowed_address(host: str, port: int) -> str:
    """One address of `host` to connect to; DestinationForbidden when any leads inward.

    All addresses are looked at, because whoever connects may pick another than the first.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise BadRequest(f"The host “{host}” cannot be found: {error}.") from error
    addresses = [ipaddress.ip_address(str(answer[4][0]).split("%")[0]) for answer in answers]
    for address in addresses:
        if not _is_allowed(address):
            raise DestinationForbidden(
                f"“{host}” leads to {address}, which is not on the public internet. An operator "
                "can allow its network with SLUICE_ALLOWED_NETWORKS."
            )
    return str(addresses[0])


def _is_allowed(address: Address) -> bool:
    plain: Address = address
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        plain = address.ipv4_mapped
    if any(plain in ipaddress.ip_network(each) for each in settings.ALLOWED_NETWORKS):
        return True
    return plain.is_global and not plain.is_multicast
