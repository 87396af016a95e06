"""From a network to a fast artifact: exporters, engines and the only timers.

The rooms that ``__init__.pyi`` lists are imported when they are first asked for: to run an engine takes no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
