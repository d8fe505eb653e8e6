"""A peer that cannot be installed here is left out of the table with its reason, not an error."""


class Unavailable(Exception):
    pass
