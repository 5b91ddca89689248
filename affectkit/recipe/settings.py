"""Plain values to frozen settings dataclasses, every problem at once; and their fields described."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)
