"""The steps of ``probe``: connect as the client does, and report each step.

``steps`` has the order of the steps, ``report`` the data that is reported and ``show`` its text
output. ``diagnosis`` uses the same steps to explain a failure of ``connect`` or ``load``.
"""
