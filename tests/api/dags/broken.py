"""A file with an import error."""

import nothing_of_this_name  # noqa: F401
