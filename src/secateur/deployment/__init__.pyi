from . import bench as bench
from . import engines as engines
from . import export as export
