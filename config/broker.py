"""The broker of the embedded default: messages as files in a folder, no server.

kombu's own file transport makes a message visible before it is written, so that a reader may find
half of one and give up for good; and it takes messages out through the system's temporary folder.
Here a message appears by a rename and is claimed by a rename, inside the folder of the site.
"""

import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):  # type: ignore[misc]  # kombu has no types
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns()}-{uuid.uuid4().hex}.{queue}.msg"
        # A name that begins with a dot is nobody's message yet.
        hidden = folder / f".{name}"
        hidden.write_bytes(dumps(payload).encode())
        hidden.rename(folder / name)

    def _get(self, queue: str) -> Any:
        folder = Path(self.data_folder_in)
        claimed = folder / "claimed"
        claimed.mkdir(exist_ok=True)
        for name in sorted(os.listdir(folder)):
            if name.startswith(".") or not name.endswith(f".{queue}.msg"):
                continue
            mine = claimed / name
            try:
                (folder / name).rename(mine)
            except FileNotFoundError:
                continue  # Another worker was first.
            text = mine.read_text(encoding="utf-8")
            mine.unlink()
            return loads(text)
        raise Empty


class Transport(filesystem.Transport):  # type: ignore[misc]  # kombu has no types
    Channel = Channel
