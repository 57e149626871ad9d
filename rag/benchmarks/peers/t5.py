"""T5 by transformers, for the peers that bring no generator of their own."""

import os

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer


class T5:
    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(os.environ["GENERATOR"])
        self.model = AutoModelForSeq2SeqLM.from_pretrained(os.environ["GENERATOR"], dtype=torch.float32).eval()

    def write(self, prompt: str) -> dict:
        """The answer, and the tokens of prompt and answer."""
        inputs = self.tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=int(os.environ["ANSWER_TOKENS"]), do_sample=False)
        return {
            "answer": self.tokenizer.decode(output[0], skip_special_tokens=True),
            "prompt_tokens": inputs["input_ids"].shape[1],
            "answer_tokens": output.shape[1] - 1,
        }
