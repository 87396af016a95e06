"""One run from configuration to folder; many runs (study) and the page about them (report).

What ``__init__.pyi`` lists is imported when it is first asked for: to read a command line takes no Lightning.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
