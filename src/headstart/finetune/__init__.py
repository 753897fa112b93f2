"""Fine-tuning: strategies, their rates, the supervised objective. Importing this registers the strategies."""

from headstart.finetune import strategies
from headstart.finetune.strategies import Situation, make_strategy

__all__ = ["Situation", "make_strategy", "strategies"]
