"""The command line: ``attnflow`` and ``python -m attnflow``.

Each command parses its options, calls one function of the library and writes what it returned.
JAX and sympy are imported by the commands that compute, never for help.
"""

import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from attnflow.cli.app import app
from attnflow.environment import missing
from attnflow.errors import IntegrationFailed, MissingPart, TrainingFailed

OK, FAILED, BAD_INPUT, MISSING, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

_USAGE_ERRORS: Any = typer.BadParameter.__mro__[2]
"""What every error of the option parser derives from."""


def _terminated(number: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)  # unwinds, so that temporary files go


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code: 0, 1, 2, 3 or 130."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command; every error that a user can cause is one sentence on standard error.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The exit code: 0 success, 1 a check failed, 2 bad input, 3 a missing part, 130 interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = typer.main.get_command(app).main(
                arguments, prog_name="attnflow", standalone_mode=False
            )
        sys.stdout.flush()
        if code == INTERRUPTED:  # the option parser catches the interrupt itself
            return _refuse("interrupted", INTERRUPTED)
        return int(code or OK)
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
    except BrokenPipeError:
        # the reader of a pipe went away: nothing left to say, and nowhere to say it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", INTERRUPTED)
    except OSError as error:
        place = f"{error.filename!r}: " if error.filename else ""
        return _refuse(f"cannot write {place}{error.strerror or error}", BAD_INPUT)
    except ValueError as error:
        if type(error).__module__ != MissingPart.__module__:
            raise  # a defect, not a refusal: show where
        return _refuse(str(error), BAD_INPUT)


def _warn(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
    """Our own warnings as a sentence, those of others as Python has them."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        print(f"attnflow: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, *rest[:1]), file=sys.stderr)


def _usage(error: Exception) -> str:
    sentence = " ".join(error.format_message().split())  # pyright: ignore[reportAttributeAccessIssue]
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "attnflow"
    return f"{sentence.rstrip('.')}; see '{command} --help'"


def _refuse(sentence: str, code: int) -> int:
    print(f"attnflow: {' '.join(sentence.split())}", file=sys.stderr)
    return code
