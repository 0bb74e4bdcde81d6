"""Is this host fit for MBCAS, and if not, what has to be done?

facts   what was found, and the verdicts on it
gather  the only part that looks at the machine
checks  facts -> findings, one function per question
"""
