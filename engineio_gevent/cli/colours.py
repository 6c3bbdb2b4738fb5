"""The colours of all commands.

They come from the fixed part of the 256-colour palette, which themes do not change. Each has a
contrast of at least 4:1 on black and on white. The 16 basic colours have no such colour.
"""

from __future__ import annotations

#: Labels, received messages and bars.
ACCENT = 'color(30)'
#: Success, sent messages and strings in JSON.
GOOD = 'color(28)'
WARNING = 'color(130)'
BAD = 'color(161)'
#: Numbers and constants in JSON.
VALUE = 'color(133)'

#: The styles of rich's JSON highlighter.
JSON_STYLES = {
    'json.brace': 'default',
    'json.key': ACCENT,
    'json.str': GOOD,
    'json.number': VALUE,
    'json.bool_true': VALUE,
    'json.bool_false': VALUE,
    'json.null': VALUE,
}
