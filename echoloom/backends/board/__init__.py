"""A board that runs a program: `el.open_board`."""
