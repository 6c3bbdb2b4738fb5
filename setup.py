"""The repository's address and the README as a package index shows it; all else is in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup

#: Where the repository is, as in ``'https://example.org/owner/name'``. It is empty until the
#: repository is public: nothing may link to a name that somebody else could register.
ADDRESS = ''

PAGES = {'Source': '', 'Issues': '/issues', 'Changelog': '/blob/main/CHANGELOG.md'}
README = Path(__file__).with_name('README.md').read_text(encoding='utf-8')

# The page of a package index has none of the files that the README shows and links to.
README = re.sub(r'<picture>.*?</picture>\n\n', '', README, flags=re.DOTALL)
link = rf'[\1]({ADDRESS}/blob/main/\2)' if ADDRESS else r'\1'

setup(
    project_urls={name: ADDRESS + path for name, path in PAGES.items() if ADDRESS},
    long_description=re.sub(r'\[([^]]*)\]\((?!https?:|#)([^)]*)\)', link, README),
    long_description_content_type='text/markdown',
)
