"""Where Sluice may connect to: the one home of the rule that keeps it from being sent inward.

Operators open inner networks in the settings (SLUICE_ALLOWED_NETWORKS), never in the browser.
"""

import ipaddress
import socket

from django.conf import settings

from pipelines.errors import BadRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


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


def is_opened(address: str) -> bool:
    """Whether `address` is written out and lies in a network that an operator opened."""
    try:
        return _is_in_opened(ipaddress.ip_address(address))
    except ValueError:
        return False


def _is_in_opened(address: Address) -> bool:
    return any(address in network for network in settings.ALLOWED_NETWORKS)


def _is_allowed(address: Address) -> bool:
    if _is_in_opened(address):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (inner := _embedded(address)):
        return _is_allowed(inner)
    return address.is_global and not address.is_multicast


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, Teredo or NAT64."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
