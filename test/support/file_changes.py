"""What is made in a folder, told at the moment that it happens (inotify(7)): for what has to be done before the next step.

    with FileChanges(folder) as changes:
        ...
        changes.wait("leases.new", 1, enough)"""

import ctypes
import os
import select
import struct
import time

from daemons import PATIENCE


class FileChanges:
    """Which files of a folder are made or replaced from now on, as it happens (inotify(7))."""

    MASK = 0x100 | 0x80  # IN_CREATE, IN_MOVED_TO

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(folder), self.MASK) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def wait(self, file, count, enough):
        """Returns the moment that it has been made so often, or when enough() is true."""
        deadline = time.monotonic() + PATIENCE
        while count > 0:
            # The event itself is waited for: until() would come too late for it.
            if not select.select([self.fd], [], [], 0.1)[0]:
                assert time.monotonic() < deadline, f"never came: {file}"
                if enough():
                    return
                continue
            data = os.read(self.fd, 65536)
            while data:
                size = struct.unpack_from("iIII", data)[3]
                count -= data[16:16 + size].rstrip(b"\0").decode() == file
                data = data[16 + size:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
