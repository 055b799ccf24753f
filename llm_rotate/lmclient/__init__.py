"""LMClient: one model on one or many servers, batches first. It only translates: the pool
behind it is an LMRotate.
"""
