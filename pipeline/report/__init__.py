"""The report: static pages that show what an output holds, made from its records."""
