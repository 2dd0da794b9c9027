"""Whom a keyless caller is named by, and where a server without keys may listen."""

from __future__ import annotations

import socket

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.addresses import (
    Proxies,
    grpc_peer_name,
    host_name,
    is_loopback,
    require_keys_or_loopback,
)


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("ipv4:192.0.2.7:5678", "192.0.2.7"),
        ("ipv6:%5B::1%5D:1234", "::1"),
        ("ipv6:[::1]:1234", "::1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:1234", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:1234", "192.0.2.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1234", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("unix:/run/facewright/door", "unix"),
        ("", "unix"),
    ],
)
def test_a_grpc_caller_is_its_address_without_the_port(peer: str, name: str) -> None:
    assert grpc_peer_name(peer) == name


@pytest.mark.parametrize(
    ("host", "forwarded_for", "caller"),
    [
        ("203.0.113.9", "192.0.2.7", "203.0.113.9"),  # nobody is believed who is no proxy
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the left one is invented
        ("10.0.0.1", "192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.7:5678", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::1]:5678", "[2001:db8::1]"),
        ("2001:db8::5", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, unknown", "10.0.0.1"),
        ("", "192.0.2.7", ""),
    ],
)
def test_a_proxy_is_believed_for_whom_it_calls(host: str, forwarded_for: str, caller: str) -> None:
    assert Proxies.of(["10.0.0.0/8", "2001:db8::5"]).caller(host, forwarded_for) == caller
    assert Proxies().caller(host, forwarded_for) == host


@pytest.mark.parametrize("text", ["::ffff:10.0.0.7", "::ffff:10.0.0.0/104"])
def test_a_proxy_may_be_written_as_ipv6_has_it(text: str) -> None:
    proxies = Proxies.of([text])
    assert (
        proxies.caller("10.0.0.7", "192.0.2.7")
        == proxies.caller("::ffff:10.0.0.7", "192.0.2.7")
        == "192.0.2.7"
    )
    assert proxies.caller("11.0.0.7", "192.0.2.7") == "11.0.0.7"


@pytest.mark.parametrize("text", ["", "proxy.example", "10.0.0.1/8", "10.0.0.0/40"])
def test_a_proxy_is_an_address_or_a_network(text: str) -> None:
    with pytest.raises(FacewrightError, match="--forwarded-by"):
        Proxies.of([text])


@pytest.mark.parametrize(
    ("host", "name"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), (None, "unix"), ("", "unix"), ("a", "a")],
)
def test_the_same_caller_has_the_same_name_over_rest(host: str | None, name: str) -> None:
    assert host_name(host) == name


def test_one_machine_is_one_caller_whichever_of_its_addresses_it_uses() -> None:
    names = {host_name(f"2001:db8::{number:x}") for number in range(2, 40)}
    assert names == {"2001:db8::/64"}
    assert host_name("2001:db8:0:1::2") not in names


LOOPBACK = (
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
)
#: The short forms mean loopback to some systems, and 0.0.0.0 to others.
ELSEWHERE = ("0.0.0.0", "::", "[::]", "", "*", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", "127.1", "0")
NAMES = ("avatars.example", "localhost.example", "127.0.0.1.example")


@pytest.fixture
def no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*names: object) -> None:
        raise AssertionError(f"{names} looked up")

    for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"):
        monkeypatch.setattr(socket, function, looked_up)


@pytest.mark.usefixtures("no_name_is_looked_up")
@pytest.mark.parametrize("host", LOOPBACK)
def test_this_machine_alone_needs_no_keys(host: str) -> None:
    assert is_loopback(host)
    require_keys_or_loopback(host, keys=False, public=False)


@pytest.mark.usefixtures("no_name_is_looked_up")
@pytest.mark.parametrize("host", [*ELSEWHERE, *NAMES])
def test_a_server_that_strangers_reach_asks_for_keys_unless_it_is_public(host: str) -> None:
    with pytest.raises(FacewrightError, match="nobody is asked for a key") as refusal:
        require_keys_or_loopback(host, keys=False, public=False)
    assert "--keys" in refusal.value.hint
    assert "--public" in refusal.value.hint
    require_keys_or_loopback(host, keys=True, public=False)
    require_keys_or_loopback(host, keys=False, public=True)
