"""How a program of the link learns that it is to end.

`Event.set` takes a lock that a signal may find taken, by the very thread in which its handler runs: then the program
would stand still for ever. So the handlers do nothing, and a thread reads what Python writes for each signal.
"""

import signal
import socket
import threading


def ending() -> threading.Event:
    """An event that is set when SIGTERM or SIGINT comes. For the main thread, once."""
    asked = threading.Event()
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)  # open as long as the process lives
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def listen() -> None:
        while heard.recv(1):
            asked.set()

    threading.Thread(target=listen, name="ending", daemon=True).start()
    return asked
