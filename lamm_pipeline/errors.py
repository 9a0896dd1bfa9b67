"""The errors of the house.

`InputError` is for everything a person can mend: a truncated recording, a missing calibration, a wrong config value. Its message is
one sentence (or two) that says what is wrong, in which file or field, and what to do. It is never retried. Faults of the machine
(`OSError` and its kin) are left as they are: they are transient and retried. Anything else is a bug and keeps its traceback.
"""


class LammError(Exception):
    """Base of all errors raised on purpose by this package."""


class InputError(LammError):
    """Something given to us is wrong; the message says what, where, and what to do. Never retried."""
