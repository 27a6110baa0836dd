"""Connecting when some of a name's addresses lead nowhere."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from speedtrap_probe.engine.connection.connecting import ADDRESSES, Found, connect
from speedtrap_probe.line.way import ANY_WAY, PlaceError, Way

HOURS_S = 3600.0
"""A deadline that no test would survive: who waits for an address that is silent waits so long."""


def found(*addresses: tuple[str, int]) -> list[Found]:
    """As `getaddrinfo` would tell them."""
    return [
        (
            socket.AF_INET6 if ":" in host else socket.AF_INET,
            socket.SOCK_STREAM,
            6,
            "",
            (host, port),
        )
        for host, port in addresses
    ]


@contextmanager
def silent(family: socket.AddressFamily, host: str) -> Iterator[tuple[str, int]]:
    """A port whose queue is full: the system drops every further SYN without a word."""
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen(0)
        address = listening.getsockname()[:2]
        waiting = []
        for _ in range(8):
            one = socket.socket(family)
            one.setblocking(False)
            one.connect_ex(address)
            waiting.append(one)
        try:
            yield address
        finally:
            for one in waiting:
                one.close()


@contextmanager
def answering(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    with socket.create_server((host, 0)) as listening:
        yield listening.getsockname()[:2]


@pytest.mark.parametrize("dead", [1, 3])
def test_an_address_that_goes_nowhere_does_not_hold_up_the_next(dead: int) -> None:
    with silent(socket.AF_INET, "127.0.0.1") as nowhere, answering() as there:
        opened = connect(found(*[nowhere] * dead, there), ANY_WAY, HOURS_S)
        with opened:
            assert opened.getpeername() == there
            assert opened.gettimeout() == HOURS_S


def test_ipv6_that_goes_nowhere_is_no_reason_to_wait_for_ipv4() -> None:
    with silent(socket.AF_INET6, "::1") as nowhere, answering() as there:
        opened = connect(found(nowhere, nowhere, nowhere, there), ANY_WAY, HOURS_S)
        with opened:
            assert opened.getpeername() == there


def test_the_families_take_turns_however_many_addresses_one_of_them_has() -> None:
    with silent(socket.AF_INET6, "::1") as nowhere, answering() as there:
        opened = connect(found(*[nowhere] * ADDRESSES, there), ANY_WAY, HOURS_S)
        with opened:
            assert opened.getpeername() == there


def test_where_nobody_answers_the_deadline_is_that_of_all_together() -> None:
    with silent(socket.AF_INET, "127.0.0.1") as nowhere, pytest.raises(TimeoutError):
        connect(found(*[nowhere] * ADDRESSES), ANY_WAY, 0.5)


def test_the_reason_of_a_refusal_is_told() -> None:
    with answering() as closed:
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(found(closed, closed), ANY_WAY, HOURS_S)


def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        connect([], ANY_WAY, HOURS_S)


def test_a_place_that_is_not_there_is_told_at_once() -> None:
    with answering() as there, pytest.raises(PlaceError):
        connect(found(there, there), Way(bind="192.0.2.1"), HOURS_S)
