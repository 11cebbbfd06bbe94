"""The epoch's hands: processes that talk to machines, and the foreman in the flow who tells them what to do.

    flow -- Prefect task of a shard -- Crew ==frames==> hand (one process a core): a greenlet for every machine
                                        ^                 sessions stay open in it from the visit to the proof
                                        '--- gates of the wave, signatures: asked by the hands, answered here

A hand holds no hotkey, no database and no chain. What goes over the link are our own records as JSON, never a pickle.
A hand that hangs or eats memory is killed; its machines go to another, but for the one it was busy with.
"""
