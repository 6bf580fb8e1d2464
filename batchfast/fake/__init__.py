"""
A stand-in for the batch APIs of OpenAI, Anthropic and Gemini on a loopback port.

```python
with FakeServer(batch_seconds=0) as fake:
    client = OpenAI(base_url=fake.base_urls["openai"], api_key="any")
```
"""

from __future__ import annotations

from batchfast.fake.faults import Fault, read_faults
from batchfast.fake.server import AcceptedBatch, Call, FakeServer

__all__ = ["AcceptedBatch", "Call", "FakeServer", "Fault", "read_faults"]
