"""`python -m forethought` is the command line."""

from forethought.cli.main import main

if __name__ == "__main__":
    main()
