"""Selectors: which units stay, given scores and a budget."""

from pruning.selectors.base import Constraints as Constraints
from pruning.selectors.base import Selector as Selector
from pruning.selectors.base import require_reachable as require_reachable
from pruning.selectors.everywhere import GlobalSelector as GlobalSelector
from pruning.selectors.isomorphic import IsomorphicSelector as IsomorphicSelector
from pruning.selectors.local import LocalSelector as LocalSelector
from pruning.selectors.registry import selector as selector
from pruning.selectors.registry import selectors as selectors
