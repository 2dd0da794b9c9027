"""The networks of the five pipelines in torch, one file per architecture, at the published sizes.

Where a checkpoint is public, parameters carry its names, so that it loads with nothing missing and nothing
left over. Modules are written for export: no data-dependent control flow, batch as the first axis of every
tensor.
"""
