"""A simulated SMSC: enough of SMPP 3.4 for a gateway that sends messages and wants receipts.

The text of a message chooses its outcome. `stat=EXPIRED` leads to that receipt, `stat=ENROUTE.DELIVRD` to two, and
`stat=REFUSE` to a refusal in place of an id. Without one, the message is delivered.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

RECEIPT_AFTER_SECONDS = 0.2
REFUSE = "REFUSE"

_HEADER = struct.Struct(">IIII")  # length, command, status, sequence
_RESPONSE = 0x8000_0000
_SUBMIT, _DELIVER, _UNBIND, _ENQUIRE = 0x04, 0x05, 0x06, 0x15
_BINDS = {0x01, 0x02, 0x09}  # receiver, transmitter, transceiver
_INVALID_DESTINATION = 0x0B
_ESM_RECEIPT = 4
_STAT = re.compile(r"stat=([A-Z.]+)")
_STATES = {"DELIVRD": "001"}


class Smsc:
    """An SMSC that listens on a port of its own, for use in a `with` statement."""

    def __init__(self) -> None:
        """Listen."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._ids = count(0x1A2B3C00)
        self._sequence = count(1)
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self.submitted = self.receipts = self.confirmed = 0  # messages, receipts sent, receipts that were confirmed

    def __enter__(self) -> Self:
        """Serve until the end of the block."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all connections."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for one in (self._listening, *self._connections):
            one.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                connection, _ = self._listening.accept()
                self._connections.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            while True:
                length, command, _, sequence = _HEADER.unpack(_exactly(connection, _HEADER.size))
                body = _exactly(connection, length - _HEADER.size)
                if command in _BINDS:
                    self._send(connection, command | _RESPONSE, sequence, b"smsc\0")
                elif command == _SUBMIT:
                    self._submit(connection, sequence, body)
                elif command in {_ENQUIRE, _UNBIND}:
                    self._send(connection, command | _RESPONSE, sequence)
                elif command == _DELIVER | _RESPONSE:
                    self.confirmed += 1

    def _submit(self, connection: socket.socket, sequence: int, body: bytes) -> None:
        sender, recipient, text = _message_of(body)
        self.submitted += 1
        found = _STAT.search(text)
        states = found[1].split(".") if found else ["DELIVRD"]
        if states == [REFUSE]:
            self._send(connection, _SUBMIT | _RESPONSE, sequence, status=_INVALID_DESTINATION)
            return
        message_id = f"{next(self._ids):x}"
        self._send(connection, _SUBMIT | _RESPONSE, sequence, message_id.encode() + b"\0")
        for at, state in enumerate(states, 1):
            receipt = self._receipt(message_id, state, text)
            timer = threading.Timer(RECEIPT_AFTER_SECONDS * at, self._deliver, (connection, recipient, sender, receipt))
            timer.daemon = True
            timer.start()

    @staticmethod
    def _receipt(message_id: str, state: str, text: str) -> bytes:
        now = datetime.now(UTC).strftime("%y%m%d%H%M")
        delivered, error = _STATES.get(state, "000"), "000" if state in _STATES else "027"
        return (
            f"id:{message_id} sub:001 dlvrd:{delivered} submit date:{now} done date:{now} stat:{state} err:{error}"
            f" text:{text[:20]}"
        ).encode("latin-1")

    def _deliver(self, connection: socket.socket, sender: bytes, recipient: bytes, text: bytes) -> None:
        """Send a receipt as `deliver_sm`."""
        addresses = b"\0\1\1" + sender + b"\0\0\0" + recipient + b"\0"
        flags = bytes([_ESM_RECEIPT, 0, 0, 0, 0, 0, 0, 0, 0])  # two empty texts are among them
        self.receipts += 1
        with suppress(OSError):
            self._send(connection, _DELIVER, next(self._sequence), addresses + flags + bytes([len(text)]) + text)

    def _send(self, connection: socket.socket, command: int, sequence: int, body: bytes = b"", status: int = 0) -> None:
        with self._lock:
            connection.sendall(_HEADER.pack(_HEADER.size + len(body), command, status, sequence) + body)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _message_of(body: bytes) -> tuple[bytes, bytes, str]:
    """Return sender, recipient and text of a `submit_sm`."""
    at = body.index(b"\0") + 1 + 2  # service type, then kind and plan of the number
    sender, _, rest = body[at:].partition(b"\0")
    recipient, _, rest = rest[2:].partition(b"\0")
    _, _, rest = rest[3:].partition(b"\0")  # class, protocol, priority; delivery time
    _, _, rest = rest.partition(b"\0")  # validity
    size = rest[4]  # after registered delivery, replacement, coding, prepared text
    return sender, recipient, rest[5 : 5 + size].decode("latin-1")
