"""The words of the page, a table a language; the keys are the same in all."""
