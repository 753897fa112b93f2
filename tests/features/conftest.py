import sys
from pathlib import Path

# `problems` is shared by the modules of this folder; importlib mode does not put the folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
