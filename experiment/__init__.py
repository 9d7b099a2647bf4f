"""Experiments on simulated surveys: the same pipeline over many realisations, collected into tables and figures.

`experiment.task.run` repeats the tests of Lindroos et al. (2015); one realisation is `experiment.realisation.realise`. The
package stands beside `uvstack` and uses it and `simulate` as any user would; nothing but the command line imports it.
"""
