"""The prompt that is used where a dataset names none."""

from __future__ import annotations

DEFAULT_PROMPT = """\
Texts wanted: {num_samples}. Each one is a passage of a {document_type} in {language_name} about {topic}.

They will stand in a corpus whose pages shall read as if they had been collected from many real sources. So each text
- is what a reader would find in a real {document_type}: its voice, structure, depth and usual length;
- is written in {language_name} from its first word to its last, as a native speaker would write it;
- keeps to {topic}, with concrete facts, figures, names or examples where such a document has them;
- stands alone: whoever sees only this text understands it, and it mentions no other text;
- begins with its content: no introduction of yours, no remark on the task, no closing question to the reader.

If more than one is wanted, let them differ clearly: another aspect of the topic, another structure, another opening, \
another author's hand. Do not carry phrases from one text over to the next.
"""
