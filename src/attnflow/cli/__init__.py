"""The command line: ``attnflow`` and ``python -m attnflow``.

Each command parses its options, calls one function of the library and writes what it returned.
JAX and sympy are imported by the commands that compute, never for help.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from attnflow.cli import output
from attnflow.cli.app import app
from attnflow.cli.process import drop_output, set_up, terminated
from attnflow.environment import missing
from attnflow.errors import IntegrationFailed, MissingPart, TrainingFailed

OK, FAILED, BAD_INPUT, MISSING, INTERRUPTED = 0, 1, 2, 3, 130

_USAGE_ERRORS: Any = typer.BadParameter.__mro__[2]
"""What every error of the option parser derives from."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code: 0, 1, 2, 3, 129, 130 or 143."""
    output.begin()
    set_up()
    code = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(terminated() or code)


def run(arguments: list[str]) -> int:
    """Run a command; every error that a user can cause is one sentence on standard error.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The exit code: 0 success, 1 a check failed, 2 bad input, 3 a missing part, 130 interrupted.
        (143, terminated, and 129, hung up, are those of a process: see ``main``.)
    """
    try:
        return _run(arguments)
    except _USAGE_ERRORS as error:
        return _refuse(_usage(error), BAD_INPUT)
    except MissingPart as error:
        return _refuse(str(error), MISSING)
    except ModuleNotFoundError as error:
        part = missing(error)
        if part is None:
            raise  # a defect, not a missing part: show where
        return _refuse(str(part), MISSING)
    except (IntegrationFailed, TrainingFailed) as error:
        return _refuse(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", INTERRUPTED)
    except OSError as error:
        place = f"{error.filename!r}: " if error.filename else ""
        return _refuse(f"cannot write {place}{error.strerror or error}", BAD_INPUT)
    except ValueError as error:
        if type(error).__module__ != MissingPart.__module__:
            raise  # a defect, not a refusal: show where
        return _refuse(str(error), BAD_INPUT)
    except (RuntimeError, AssertionError) as error:
        lacking = _lacking_device()
        if lacking is None:
            raise  # a defect
        return _refuse(f"{lacking} ({error})" if str(error) else lacking, MISSING)


def _run(arguments: list[str]) -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            # what is kept of earlier commands is never needed
            warnings.filterwarnings("ignore", message=".*persistent compilation cache")
            # remarks of what was trained say it
            warnings.filterwarnings("ignore", message=".* never began: ")
            code = typer.main.get_command(app).main(
                arguments, prog_name="attnflow", standalone_mode=False
            )
        sys.stdout.flush()
    except SystemExit as stop:
        # how the option parser and rich take it that the reader of a pipe went away
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        code = _gone()
    except BrokenPipeError:
        code = _gone()
    except OSError:
        drop_output()  # nothing is written again as the process ends
        raise
    if code == INTERRUPTED:  # the option parser catches the interrupt itself
        return _refuse("interrupted", INTERRUPTED)
    return int(code or OK)


def _gone() -> int:
    """The reader of a pipe went away: nothing left to say, and nowhere to say it."""
    drop_output()
    return OK


def _lacking_device() -> str | None:
    """What JAX was told to compute on and cannot; None where it can, or was told nothing."""
    asked, jax = os.environ.get("JAX_PLATFORMS"), sys.modules.get("jax")
    if not asked or jax is None:
        return None
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        return (
            f"JAX cannot compute on what JAX_PLATFORMS names, {asked!r}: unset it, or install what "
            "it needs ('attnflow doctor' lists parts)"
        )
    return None


def _warn(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
    """Our own warnings as a sentence, those of others as Python has them."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        output.say(f"attnflow: {message}")
    else:
        output.say(warnings.formatwarning(message, category, filename, *rest[:1]))


def _usage(error: Exception) -> str:
    sentence = " ".join(error.format_message().split())  # pyright: ignore[reportAttributeAccessIssue]
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "attnflow"
    return f"{sentence.rstrip('.')}; see '{command} --help'"


def _refuse(sentence: str, code: int) -> int:
    output.say(f"attnflow: {' '.join(sentence.split())}")
    return code
