"""Pruning in the loops of others: callbacks for Lightning and for Hugging Face's Trainer.

Each is imported when it is first asked for, and with it the library that it is for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
