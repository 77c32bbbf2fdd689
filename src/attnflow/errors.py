"""Errors that a user meets: each is a ``ValueError`` that says what was got and what is allowed."""

import warnings

LONGEST_WORD, LONGEST_MESSAGE = 300, 2000
"""Characters of what a message repeats, and of a message; what is longer is cut."""


def escaped(text: str, keep: str = "") -> str:
    r"""The text with what is not seen (controls, format, half characters) as ``\u202e``.

    Args:
        text: any text.
        keep: characters to leave as they are.

    >>> escaped("a\x1b[1mb")
    'a\\x1b[1mb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def shown(text: object) -> str:
    """A message as it is shown: escaped, long words and long messages cut in their middle."""
    words = (cut(word, LONGEST_WORD) for word in escaped(str(text)).split(" "))
    return cut(" ".join(words), LONGEST_MESSAGE)


def cut(text: str, most: int) -> str:
    """The text, or its begin and end where it has more characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 4 :]}"


def warn(text: str, stacklevel: int = 1) -> None:
    """Warn, in a message as it is shown, of what does not mean what it seems.

    Args:
        text: the sentence.
        stacklevel: as of ``warnings.warn``, seen from the caller.
    """
    warnings.warn(shown(text), stacklevel=stacklevel + 1)


class Refusal(ValueError):
    """What every error of attnflow is: its message shows no character that cannot be seen."""

    def __init__(self, message: object = "") -> None:
        super().__init__(shown(message))


class SettingError(Refusal):
    """An argument is outside what is allowed; the message names it, its value and the range."""


class ParadigmError(Refusal):
    """A paradigm cannot be used as it was defined, or no paradigm has the given name."""


class NoFirstIntegral(Refusal):
    """The loss has no first integral of the known form, so no closed-form trajectory."""


class UnknownFunction(Refusal):
    """A sympy expression holds a function that the bridge to JAX does not know."""


class IntegrationFailed(Refusal):
    """A trajectory could not be computed; names paradigm, setting, last time, what to try."""


class TrainingFailed(Refusal):
    """A training run stopped: the loss was not finite or grew; names step, rate, what to try."""


class DataError(Refusal):
    """A data file is damaged, truncated, of the wrong kind or unsafe; the message names it."""


class PrecisionError(Refusal):
    """float64 was needed inside a transformation that runs with 64-bit numbers switched off."""


class MissingPart(Refusal):
    """An optional part of the installation, or data, is missing; the message says how to get it."""


class Terminated(SystemExit):
    """SIGTERM or SIGHUP came: raised wherever the program is, so that what it holds is put away."""
