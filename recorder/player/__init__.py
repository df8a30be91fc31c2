"""The player of `recorder play`: keys, what is shown, the terminal. A client of the native endpoint like any other."""
