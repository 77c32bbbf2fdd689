"""``python -m attnflow``: the same command as ``attnflow``."""

from attnflow.cli import main

if __name__ == "__main__":
    main()
