"""Tables and figures of papers by name: grids of runs with the published figures beside, and looks at finished runs.

What ``__init__.pyi`` lists is imported when it is first asked for: to list the studies takes no matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
