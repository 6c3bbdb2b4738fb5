"""An Engine.IO client for gevent programs."""

__version__ = '0.1.0'

from . import exceptions as exceptions
from .client import Client as Client

__all__ = ['Client', '__version__', 'exceptions']
