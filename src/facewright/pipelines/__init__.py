"""The one table: tensors, stages, networks and pipelines. Everything that serves follows from it.

A pipeline is its own file (`facewright.pipelines.twin`) plus its new stages. Triton's configs, the command
line's options, the page that lists them, what the doctor looks for, how an idle server proves itself alive,
histogram buckets and alerts are all derived from its rows.
"""
