"""A session's one channel: a program that runs on the other side, its stdin and stdout within their windows.

What comes in is bounded here; who waits for it is `tasks/edges/bounded.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from paramiko import common
from paramiko.message import Message

from tasks.errors import BadAnswer, LimitExceeded

MAX_PIECE_BYTES = 32_768
"""What a packet of ours may carry, and the most that we ask for in one."""
STDERR_TAIL_BYTES = 2_048
_EXIT_STATUS = "exit-status"


class Program:
    """One command and its streams. `is_running` is None until the server has answered the request to run it."""

    number = 0
    """Our channel's: a session has one."""

    def __init__(self, window_bytes: int, send: Callable[[Message], None]) -> None:
        self.is_open = False
        self.is_running: bool | None = None
        self.stdout = bytearray()
        """What came and was not read yet."""
        self.stderr_tail = b""
        self.exit_status: int | None = None
        self.has_finished = self.is_closed = False
        """Whether the server says that nothing more is printed, and that the channel is gone."""
        self._send = send
        self._window_bytes = window_bytes
        self._taken_bytes = 0
        self._their_number = self._their_window = self._their_most = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be printed."""
        return self.has_finished or self.is_closed

    @property
    def room(self) -> int:
        """Bytes that may be written at once."""
        if self.is_closed:
            raise EOFError
        return min(self._their_window, self._their_most)

    def open(self) -> None:
        """Ask for the channel."""
        message = Message()
        message.add_byte(common.cMSG_CHANNEL_OPEN)
        message.add_string("session")
        message.add_int(self.number)
        message.add_int(self._window_bytes)
        message.add_int(MAX_PIECE_BYTES)
        self._send(message)

    def opened(self, number: int, window_bytes: int, most_bytes: int) -> None:
        """The server has it."""
        if most_bytes < 1:
            raise BadAnswer(f"open: packets of at most {most_bytes} bytes")
        self.is_open = True
        self._their_number, self._their_window = number, window_bytes
        self._their_most = min(most_bytes, MAX_PIECE_BYTES)

    def execute(self, command: str) -> None:
        """Ask the server to run this."""
        message = self._message(common.cMSG_CHANNEL_REQUEST)
        message.add_string("exec")
        message.add_boolean(True)  # noqa: FBT003  want_reply
        message.add_string(command)
        self._send(message)

    def write(self, piece: bytes) -> None:
        """Send it to the program: at most `room` bytes."""
        message = self._message(common.cMSG_CHANNEL_DATA)
        message.add_string(piece)
        self._their_window -= len(piece)
        self._send(message)

    def read(self, most: int) -> bytes:
        """What was printed, at most so many bytes of it."""
        piece = bytes(memoryview(self.stdout)[:most])
        del self.stdout[: len(piece)]
        self._taken_bytes += len(piece)
        if self._taken_bytes > self._window_bytes // 10 and not self.has_ended:
            self._give_window(self._taken_bytes)
            self._taken_bytes = 0
        return piece

    def take(self, kind: int, message: Message) -> None:
        """Do what a message for the channel says."""
        number = message.get_int()
        if number != self.number or not self.is_open:
            raise BadAnswer(f"talk: channel {number}, which we did not ask for")
        HANDLERS[kind](self, message)

    def _take_stdout(self, message: Message) -> None:
        data = _payload(message)
        if len(self.stdout) + len(data) > self._window_bytes:
            raise LimitExceeded("unread output", f"{self._window_bytes} bytes")
        self.stdout += data

    def _take_stderr(self, message: Message) -> None:
        """Keep the tail for an error's text, and give the window back so that the program never waits."""
        message.get_int()
        data = _payload(message)
        self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL_BYTES:]
        self._give_window(len(data))

    def _take_window(self, message: Message) -> None:
        self._their_window += message.get_int()

    def _take_request(self, message: Message) -> None:
        # Never as text: the stock parser decodes whatever comes.
        name, wants_reply = message.get_binary(), message.get_boolean()
        if name == _EXIT_STATUS.encode():
            self.exit_status = message.get_int()
        if wants_reply:
            self._send(self._message(common.cMSG_CHANNEL_FAILURE))

    def _take_success(self, message: Message) -> None:
        del message
        self.is_running = True

    def _take_failure(self, message: Message) -> None:
        del message
        self.is_running = False

    def _take_eof(self, message: Message) -> None:
        del message
        self.has_finished = True

    def _take_close(self, message: Message) -> None:
        del message
        self.is_closed = True
        if self.is_running is None:
            self.is_running = False

    def _give_window(self, size: int) -> None:
        message = self._message(common.cMSG_CHANNEL_WINDOW_ADJUST)
        message.add_int(size)
        self._send(message)

    def _message(self, kind: bytes) -> Message:
        message = Message()
        message.add_byte(kind)
        message.add_int(self._their_number)
        return message


HANDLERS: Mapping[int, Callable[[Program, Message], None]] = MappingProxyType(
    {
        common.MSG_CHANNEL_SUCCESS: Program._take_success,  # noqa: SLF001  all of them are its own
        common.MSG_CHANNEL_FAILURE: Program._take_failure,  # noqa: SLF001
        common.MSG_CHANNEL_DATA: Program._take_stdout,  # noqa: SLF001
        common.MSG_CHANNEL_EXTENDED_DATA: Program._take_stderr,  # noqa: SLF001
        common.MSG_CHANNEL_WINDOW_ADJUST: Program._take_window,  # noqa: SLF001
        common.MSG_CHANNEL_REQUEST: Program._take_request,  # noqa: SLF001
        common.MSG_CHANNEL_EOF: Program._take_eof,  # noqa: SLF001
        common.MSG_CHANNEL_CLOSE: Program._take_close,  # noqa: SLF001
    }
)
"""Message number -> what it does to the program it is for."""


def _payload(message: Message) -> bytes:
    # get_string would pad a short packet with up to 1 MiB of zeros.
    size, data = message.get_int(), message.get_remainder()
    if size != len(data):
        raise BadAnswer(f"talk: {size} bytes announced, {len(data)} sent")
    return data
