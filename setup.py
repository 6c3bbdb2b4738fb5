"""All there is to know stands in setup.cfg."""

from setuptools import setup

setup()
