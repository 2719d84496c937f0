"""The broker of the embedded default: messages as files in a folder, no server.

kombu's own file transport makes a message visible before it is written, so that a reader may find
half of one and give up for good; and it takes messages out through the system's temporary folder.
Here a message appears by a rename and is claimed by a rename, inside the folder of the site.
"""

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns()}-{uuid.uuid4().hex}.{queue}.msg"
        # A name that begins with a dot is nobody's message yet.
        hidden = folder / f".{name}"
        hidden.write_bytes(dumps(payload).encode())
        hidden.rename(folder / name)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        folder = Path(self.data_folder_in)
        claimed = folder / "claimed"
        claimed.mkdir(exist_ok=True)
        for file in sorted(folder.glob(f"*.{queue}.msg")):
            if file.name.startswith("."):
                continue
            mine = claimed / file.name
            try:
                file.rename(mine)
            except FileNotFoundError:
                continue  # Another worker was first.
            text = mine.read_text(encoding="utf-8")
            mine.unlink()
            return loads(text)
        raise Empty


class Transport(filesystem.Transport):
    Channel = Channel
