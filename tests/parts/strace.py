"""strace, which has system calls of a program fail as a broken disk would have them."""

from tests.parts.programs import Program

STRACE = Program("strace", "strace", "STRACE", ("-V",))
find, install = STRACE.find, STRACE.install
