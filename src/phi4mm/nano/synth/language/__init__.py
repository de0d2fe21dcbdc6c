"""One grammar of English, German, French and Spanish; its sentences are drawn and rendered in grammar.py."""
