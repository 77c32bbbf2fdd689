"""Errors that a user meets: each is a ``ValueError`` that says what was got and what is allowed."""


class SettingError(ValueError):
    """An argument is outside what is allowed; the message names it, its value and the range."""


class ParadigmError(ValueError):
    """A paradigm cannot be used as it was defined, or no paradigm has the given name."""


class NoFirstIntegral(ValueError):
    """The loss has no first integral of the known form, so no closed-form trajectory."""


class UnknownFunction(ValueError):
    """A sympy expression holds a function that the bridge to JAX does not know."""


class IntegrationFailed(ValueError):
    """A trajectory could not be computed; names paradigm, setting, last time, what to try."""


class TrainingFailed(ValueError):
    """A training run stopped: the loss was not finite or grew; names step, rate, what to try."""


class DataError(ValueError):
    """A data file is damaged, truncated, of the wrong kind or unsafe; the message names it."""


class PrecisionError(ValueError):
    """float64 was needed inside a transformation that runs with 64-bit numbers switched off."""


class MissingPart(ValueError):
    """An optional part of the installation, or data, is missing; the message says how to get it."""


class Terminated(SystemExit):
    """SIGTERM came: raised wherever the program is, so that what it holds is put away."""
