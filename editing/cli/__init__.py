"""Additions of the command line: jobs, jobs on Ray, the doctor.

Imports everything in `editing`.
"""
