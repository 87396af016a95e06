"""A finished run to the Hugging Face Hub and back: weights, configuration and figures, never code, never this machine's paths.

What ``__init__.pyi`` lists is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
