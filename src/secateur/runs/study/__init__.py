"""Methods side by side: a grid of runs, trained once each, and one table of what came out.

What ``__init__.pyi`` lists is imported when it is first asked for: to read a command line takes no matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
