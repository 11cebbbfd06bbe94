"""Does cheating pay? A cost model of the proof: what each known cheat can prove, how likely, and what it earns.

    hardware   what cards can do, by the table of models and vendors' figures of links: upper bounds
    claims     what a claimed model's proof asks, and how long a cheat's hardware takes over it
    pay        what passing with a probability earns an epoch, the uptime ramp included
    cheats     each known cheat as an attempt: hardware, probability, income
    table      all cheats of twelve models, and pairs of models that are often asked about

Every bound is in the cheat's favour: links at their raw rate, integer units fully busy, work perfectly overlapped, the
machine beside the validator. So `loses` is meant strictly, and `PAYS` says that this model finds nothing against it.
No figure about cards has been measured yet.
"""
