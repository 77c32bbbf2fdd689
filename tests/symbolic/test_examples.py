"""The examples in the docstrings of the symbolic core and of the exports say what comes out."""

import doctest
import importlib
import pkgutil

import attnflow.export
import attnflow.symbolic


def test_the_examples_of_the_docstrings_hold():
    tried = 0
    for package in (attnflow.symbolic, attnflow.export):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                result = doctest.testmod(importlib.import_module(module.name))
                assert result.failed == 0, module.name
                tried += result.attempted
    assert tried >= 15
