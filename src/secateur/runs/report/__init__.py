"""What a run cost each task: a page to show a colleague, and a table for the terminal.

What ``__init__.pyi`` lists is imported when it is first asked for: a table of the terminal takes no matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
