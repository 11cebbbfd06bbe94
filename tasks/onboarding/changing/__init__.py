"""The hand's program at the far end: it changes a machine as root, and writes down what was there before, first.

It is sent as text and run by `python -I`: nothing but the standard library of Python 3.8. After its text comes one line
of JSON, which is answered with one:

    {"do": "look", "steps": {step: [change, ...]}}        -> {"steps": {step: answer}}, nothing is changed
    {"do": "change", "step": step, "changes": [change]}   -> answer
        an answer is {"done": [what was, or is to be, done], "code": "", "detail": ""}, with a code when it can't be
    {"do": "undo", "step": step}                          -> {"undone": n, "left": [[what, why], ...]}
    {"do": "forget"}                                      -> the same: the journal goes, unless something is left in it
    {"do": "wheel", "step": step, "folder": folder, "name": name}, and a package  -> answer
    what can not be begun at all is answered with {"refused": code, "detail": why}

A change is {"kind": ..., its own fields}; the kinds are the functions of `CHANGES`, and what undoes them `UNDOES`. A change that is
made already is none. The journal is one file of root's, replaced whole and synced before each change: whatever is killed
at whatever line, and by whom, it can be gone on with or undone, from any computer.
"""
