"""Runs pruned ONNX models fast: an execution provider for ONNX Runtime that skips zeros.

```python
import secateur_runtime
session = secateur_runtime.session("pruned.onnx", threads=2)   # an onnxruntime.InferenceSession like any other
print(secateur_runtime.report(session))
```
"""

from secateur_runtime.library import Unsupported, library, register
from secateur_runtime.report import Layer, Report, report
from secateur_runtime.session import PROVIDER, session

__all__ = ["PROVIDER", "Layer", "Report", "Unsupported", "library", "register", "report", "session"]
__version__ = "0.1.0"
