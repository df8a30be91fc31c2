"""`python -m recorder` is `recorder`."""

from recorder.start import main

main()
