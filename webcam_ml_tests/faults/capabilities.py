"""Executed by a fork: from here on permission bits hold for this process, also if it is root's.

Root may write where nobody may (CAP_DAC_OVERRIDE); without that capability it is an owner like any
other. For an ordinary user this changes nothing.
"""

import ctypes
import os
import sys

VERSION_3 = 0x20080522
DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 1, 2, 3


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop() -> None:
    """Give up overriding permissions."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(VERSION_3, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capget")
    for capability in (DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER):
        data[0].effective &= ~(1 << capability)
        data[0].permitted &= ~(1 << capability)
    if libc.capset(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capset")


if sys.platform == "linux" and os.geteuid() == 0:
    drop()
