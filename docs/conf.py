"""Sphinx's settings; ``build.py`` runs it."""

from docutils import nodes

import engineio_gevent

project = 'engineio_gevent'
author = 'The engineio_gevent authors'
copyright = '2026, the engineio_gevent authors'
release = version = engineio_gevent.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx_click', 'sphinx_copybutton']
exclude_patterns: list[str] = []
html_theme = 'furo'
html_title = f'engineio_gevent {release}'
html_static_path = ['_static']
html_logo = '_static/logo.svg'
html_favicon = '_static/favicon.svg'
html_css_files = ['pages.css']
html_js_files = ['pages.js']
html_show_sourcelink = False
# They would make other options of --json, and other quotes of what is to be copied.
smartquotes = False
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#0b7a75', 'color-brand-content': '#0b7a75'},
    'dark_css_variables': {'color-brand-primary': '#4fd1c5', 'color-brand-content': '#4fd1c5'},
}

myst_enable_extensions = ['attrs_inline', 'colon_fence', 'deflist']
myst_heading_anchors = 4
copybutton_prompt_text = r'\$ '
copybutton_prompt_is_regexp = True

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = 'hide'

nitpicky = True
# What lies in other projects, or is not public: the build looks at no other site.
nitpick_ignore_regex = [
    (r'py:.*', r'engineio_gevent\.(transports|session|protocol|contrib\.locust)\..*'),
    (
        r'py:.*',
        r'(gevent|requests|logging|locust|socketio|engineio|contextlib|collections|types|'
        r'typing|ssl|os)(\..*)?',
    ),
    (
        r'py:.*',
        r'(Callable|Mapping|Iterable|Iterator|Any|ModuleType|TracebackType|Logger|Session|'
        r'HTTPSession|HTTP|State|User|Greenlet|Queue|Event|_Handler|Response|int|str|bool|float|'
        r'bytes|None|list|dict|tuple|object|type|Exception|BaseException|Match|.*\._.*|_.*)',
    ),
    (
        r'py:(exc|class)',
        r'(ValueError|TypeError|RuntimeError|OSError|ImportError|KeyboardInterrupt|'
        r'TimeoutError)',
    ),
]


def _dash(app, doctree):
    """Sphinx writes ' -- ' after a parameter, and leaves the dash to the quotes that are off."""
    for text in list(doctree.findall(nodes.Text)):
        if text == ' -- ':
            text.parent.replace(text, nodes.Text(' \N{EN DASH} '))


def _commands(app, doctree):
    """sphinx_click uses the short names of commands, and shows their examples as prose."""
    for section in doctree.findall(nodes.section):
        if any(name.startswith('engineio-gevent-') for name in section['ids']):
            command = section[0].astext()
            section[0].children = [nodes.Text(f'engineio-gevent {command}')]
    for link in list(doctree.findall(nodes.reference)):
        if link.astext() == 'http://HOST:PORT':
            link.replace_self(nodes.Text(link.astext()))
    for block in list(doctree.findall(nodes.line_block)):
        title = block[0].astext()
        if title not in ('Example:', 'Examples:') or len(block) != 2:
            continue
        code = '\n'.join(f'$ {line.astext()}' for line in block[1])
        block.replace_self(
            [nodes.paragraph('', title), nodes.literal_block(code, code, language='console')]
        )


def setup(app):
    app.connect('doctree-read', _dash)
    # Before Sphinx collects the headings for the table of contents.
    app.connect('doctree-read', _commands, priority=400)
