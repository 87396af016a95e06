from . import bench as bench
from . import engines as engines
from . import export as export
from . import sparse as sparse
