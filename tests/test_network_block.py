"""The tests themselves cannot reach anything but this machine."""

from __future__ import annotations

import socket

import pytest
from pytest_socket import SocketConnectBlockedError


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_connecting_beyond_loopback_fails() -> None:
    """Every connection but loopback is refused; 192.0.2.1 is reserved for documentation."""
    with pytest.raises(SocketConnectBlockedError), socket.socket() as connection:
        connection.connect(("192.0.2.1", 80))
