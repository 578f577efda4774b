"""Links do not linger, however many files are open."""

import os
import socket
import struct

from sextant.fleet.linger import Unlingering

ON = struct.pack("ii", 1, 10)


def lingers(line: socket.socket) -> bool:
    return struct.unpack("ii", line.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] != 0


def test_the_option_is_taken_back_from_sockets_and_files_are_left_alone() -> None:
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    try:
        with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as line:
            line.connect(door.getsockname())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ON)
            unlingering = Unlingering(0.5)
            assert unlingering.look(10.0) >= 1
            assert not lingers(line)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ON)
            assert unlingering.look(10.4) == 0, "not so soon again"
            assert lingers(line)
            assert unlingering.look(10.6) >= 1
            assert not lingers(line)
    finally:
        for number in files:
            os.close(number)
