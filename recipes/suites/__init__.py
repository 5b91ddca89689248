"""Suites of data sets for `affectkit evaluate --suite`."""
