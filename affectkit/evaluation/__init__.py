"""Answers, the ledger, figures with intervals, how they vary and for whom."""
