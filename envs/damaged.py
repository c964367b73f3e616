"""What readers raise for an archive that is cut off or altered."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    OSError,
    tokenize.TokenError,
    SyntaxError,
    OverflowError,
    MemoryError,
)
"""Of ``zipfile`` and ``numpy.load``: for the list of members, a member's header, its compressed bytes and its array.
RuntimeError is for one that says it is encrypted, or compressed in a way that Python does not know; those of a parser
are for the header of an array, which is written in Python's own form; the last two are for a shape beyond bounds."""

NO_ARCHIVE = (*DAMAGED_ARCHIVE, TypeError, AttributeError)
"""The same, and what the caller's own code stumbles on where the file is whole and holds something else."""
