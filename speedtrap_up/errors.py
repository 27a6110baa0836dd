"""What can go wrong with everything on one machine; each message is for a person."""


class UpError(Exception):
    """speedtrap cannot start or go on here."""


class AlreadyRunningError(UpError):
    """Another `speedtrap up` holds this data folder."""
