"""What a machine calls itself where all are the same."""


def name():
    return "127.0.0.1"
