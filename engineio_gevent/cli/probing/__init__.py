"""What ``probe`` does: connect as the client does, one step after the other, and tell of each.

``course`` has the order of the steps; ``report`` what is told of them, ``show`` how it looks.
"""
