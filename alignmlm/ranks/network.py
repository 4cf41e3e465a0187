"""Which of this machine's network interfaces leads to the other nodes."""

import fcntl
import socket
import struct

GET_ADDRESS = 0x8915  # SIOCGIFADDR of Linux
OUTSIDE = "192.0.2.1"  # an address for documentation (RFC 5737): where the default route leads


def addresses() -> dict[str, str]:
    """The IPv4 address of each network interface that has one."""
    address_of = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asked.fileno(), GET_ADDRESS, request)
            except OSError:
                continue
            address_of[name] = socket.inet_ntoa(answer[20:24])
    return address_of


def host_address() -> str:
    """The address that this machine's own name resolves to; loopback if there is none."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def own_address(towards: str) -> str | None:
    """This machine's source address for packets to another host, or None; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def interface_towards(host: str) -> str | None:
    """The interface towards a host, else of the default route, else the first; never loopback."""
    names = {
        address: name for name, address in addresses().items() if not address.startswith("127.")
    }
    for target in (host, OUTSIDE):
        address = own_address(target)
        if address in names:
            return names[address]
    return next(iter(names.values()), None)


def reachable_address() -> str:
    """An address of this machine that other machines can reach, if it has one."""
    address = host_address()
    if not address.startswith("127."):
        return address
    name = interface_towards(OUTSIDE)
    return address if name is None else addresses()[name]


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
