"""Commands run in this process, so that JAX is loaded once; test_process.py has the exceptions."""

import json

import pytest

from attnflow.cli import run


@pytest.fixture
def attnflow(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    # what is being done is said after a second, which a busy machine takes for anything
    monkeypatch.setattr("attnflow.cli.output.PATIENCE", 3600.0)

    def call(*arguments):
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def document(attnflow):
    """The JSON document of a command that succeeds; NaN and Infinity are no JSON."""

    def call(*arguments):
        code, out, err = attnflow(*arguments, "--json")
        assert code == 0, err
        return json.loads(out, parse_constant=lambda token: pytest.fail(f"{token} is not JSON"))

    return call
