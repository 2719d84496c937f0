"""What code servers say when something was pushed, and whether it starts a run. Pure Python.

`is_genuine` tells whether a delivery comes from whom it says, `read` what happened, and `decide`
whether a source of a pipeline wants a run of it.
"""

from pipelines.pushes.deciding import Decision, decide
from pipelines.pushes.push import Headers, Kind, Nothing, Push
from pipelines.pushes.reading import read
from pipelines.pushes.signatures import is_genuine

__all__ = ["Decision", "Headers", "Kind", "Nothing", "Push", "decide", "is_genuine", "read"]
