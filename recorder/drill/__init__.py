"""Faults made on purpose, so that every promise can be seen to hold on the machine it has to hold on."""
