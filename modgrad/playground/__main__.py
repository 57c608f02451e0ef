"""python -m modgrad.playground: start the playground."""

from modgrad.playground.server import main

if __name__ == "__main__":
    raise SystemExit(main())
