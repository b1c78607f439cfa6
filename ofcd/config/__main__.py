"""`python -m ofcd.config --example`: prints config.example.toml."""

import sys

from ofcd.config import render_example


def main(arguments: list[str]) -> int:
    """Print the example; 2 for any other use."""
    if arguments != ["--example"]:
        sys.stderr.write("usage: python -m ofcd.config --example > config.example.toml\n")
        return 2
    sys.stdout.write(render_example())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
