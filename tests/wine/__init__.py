"""What Wine lacks, so that the tests can run on CPython for Windows under it. `.ci/wine` uses it."""
