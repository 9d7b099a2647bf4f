"""Experiments on simulated surveys: the same pipeline over many realisations, collected into tables and figures.

`simulate.experiment.task.run` repeats the tests of Lindroos et al. (2015); one realisation is
`simulate.experiment.realisation.realise`. The
package stands beside `uvstack` and uses it and `simulate` as any user would; nothing but the
command line imports it.
"""
