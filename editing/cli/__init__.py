"""What the command line adds: jobs, jobs on Ray, the doctor.

Imports everything in `editing`.
"""
