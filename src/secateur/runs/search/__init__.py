"""Many runs of one recipe, each with other settings, of which Optuna chooses the next by what the last ones scored.

What ``__init__.pyi`` lists is imported when it is first asked for: to read a command line takes neither Optuna nor torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
