"""The making of an answer: what the model is shown, its rounds of calls, what came of it, what is remembered."""
