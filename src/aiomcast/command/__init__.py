"""The command line, made of public names alone."""
