# sympy's own hints are partial and refuse documented calls, such as subs with a dict: taken as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
