"""The line, asked over real sockets: TCP and DNS apart."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from speedtrap_probe.line.connectivity import Address, Connectivity, check

NO_NAME = Address("no-such-host.invalid", 443)


def closed_port() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address("127.0.0.1", server.getsockname()[1])


@contextmanager
def answering(host: str = "127.0.0.1") -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address(host, server.getsockname()[1])


def test_one_address_that_answers_is_enough() -> None:
    with answering() as address:
        assert check([closed_port(), address]) == Connectivity(up=True, dns=None)


def test_the_line_is_down_when_nothing_answers() -> None:
    assert check([closed_port(), NO_NAME]) == Connectivity(up=False, dns=False)


def test_broken_dns_on_a_line_that_works_is_no_outage_and_is_noted() -> None:
    with answering() as address:
        found = check([address, NO_NAME])
    assert found == Connectivity(up=True, dns=False)
    assert "DNS is broken" in (found.note or "")


def test_a_name_that_resolves_while_nothing_answers_is_a_line_that_is_down() -> None:
    assert check([Address("localhost", closed_port().port)]) == Connectivity(up=False, dns=True)


def test_names_that_work_are_known_to_work() -> None:
    with answering("localhost") as named:
        assert check([named]) == Connectivity(up=True, dns=True)


def test_an_address_that_swallows_packets_does_not_hold_the_check_up() -> None:
    assert check([Address("192.0.2.1", 9)], timeout_s=0.2).up is False


def test_without_addresses_nothing_is_known() -> None:
    assert check([]) == Connectivity(None, None)


@pytest.mark.parametrize("host", ["..", "a" * 300, "-"])
def test_what_is_no_name_is_no_answer(host: str) -> None:
    assert check([Address(host, 443)], timeout_s=0.5).up is False
