"""An Engine.IO client for gevent programs."""

__version__ = '0.1.0'

from . import exceptions as exceptions
from .client import Client as Client
from .protocol.compiled import ACCELERATED as __accelerated__

__all__ = ['Client', '__accelerated__', '__version__', 'exceptions']
